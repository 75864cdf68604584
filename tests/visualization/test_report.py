import base64
import json
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmdrsl.models.feature_maps import feature_maps
from mmdrsl.visualization.charts import bar_chart, dot_chart, line_chart
from mmdrsl.visualization.colors import color_confidence, color_labels, color_modes, mode_shades
from mmdrsl.visualization.mode_maps import predict_modes
from mmdrsl.visualization.report import (
    ModePair,
    PseudoLabelSeries,
    Report,
    ValidationImage,
    render_report,
)
from mmdrsl.visualization.run_records import (
    coverage_per_round,
    evaluations,
    latest_step,
    metrics_per_round,
    summarize_metrics,
)
from mmdrsl.visualization.summary import METHOD_TITLES, format_table, order_sentence, table_rows

CLASSES = ("road", "sky", "rider & horse")
PALETTE = ((128, 64, 128), (70, 130, 180), (255, 0, 0))
CONFIGS = Path(__file__).parents[2] / "configs"


def make_summary(source_only=40.0, self_training=50.0, drsl=55.5):
    def entry(value):
        return {"mIoU": value, "aAcc": value + 20, "IoU": {"road": value + 5, "sky": value - 5}}

    return {
        "seed": 7,
        "minutes": 8.25,
        "source_only": entry(source_only),
        "self_training": entry(self_training),
        "drsl": entry(drsl),
    }


def make_report():
    generator = np.random.default_rng(0)

    def image():
        return generator.integers(0, 256, (8, 16, 3), dtype=np.uint8)

    def labels():
        drawn = generator.integers(0, len(CLASSES), (8, 16)).astype(np.uint8)
        drawn[0] = 255
        return drawn

    truth = labels()
    classes = {look: generator.integers(0, 3, (8, 16)) for look in ("game", "camera")}
    return Report(
        summary=make_summary(),
        setting="Tiny <test> setting.",
        classes=CLASSES,
        palette=PALETTE,
        validation=[
            ValidationImage(
                image=image(),
                truth=truth,
                predictions={
                    "source_only": np.zeros_like(truth),
                    "self_training": labels(),
                    "drsl": np.where(truth == 255, 0, truth),
                },
            )
        ],
        pseudo_labels=[
            PseudoLabelSeries(
                method="drsl",
                image=image(),
                labels={1: labels(), 2: labels()},
                confidence=generator.integers(0, 256, (8, 16), dtype=np.uint8),
            )
        ],
        mode_pairs=[
            ModePair(
                images={"game": image(), "camera": image()},
                classes=classes,
                modes={look: value % 2 for look, value in classes.items()},
            )
        ],
        num_modes=2,
        miou={"self_training": {0: 40.0, 1: 50.0}, "drsl": {0: 42.0, 1: 55.5}},
        coverage={"self_training": {1: 30.0}, "drsl": {1: 31.0}},
    )


class PageReader(HTMLParser):
    """Collects what a browser would load, the sections, the pictures and the text."""

    def __init__(self):
        super().__init__()
        self.loaded, self.sections, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in ("src", "href", "srcset", "data", "poster", "action"):
                self.loaded.append(value)
            if tag == "section" and name == "id":
                self.sections.append(value)

    def handle_data(self, data):
        self.text.append(data)


def read_page(page):
    reader = PageReader()
    reader.feed(page)
    return reader


def test_label_colors_pixel_by_pixel():
    labels = np.array([[0, 1], [2, 255]], dtype=np.uint8)
    drawn = color_labels(labels, PALETTE)
    assert drawn.dtype == np.uint8
    for row, column, index in ((0, 0, 0), (0, 1, 1), (1, 0, 2)):
        assert tuple(drawn[row, column]) == PALETTE[index]
    assert drawn[1, 1].max() < 40


def test_label_outside_the_palette_is_refused():
    with pytest.raises(ValueError, match=r"holds 3, expected 0\.\.2 or 255"):
        color_labels(np.array([[3]], dtype=np.uint8), PALETTE)


def test_one_mode_has_the_color_of_its_class():
    assert mode_shades(PALETTE, 1)[:, 0].tolist() == [list(color) for color in PALETTE]


def test_modes_run_from_light_to_dark_around_the_class_color():
    shades = mode_shades(PALETTE, 3).astype(int)
    brightness = shades.sum(axis=2)
    assert (np.diff(brightness, axis=1) < 0).all()
    assert shades[:, 1].tolist() == [list(color) for color in PALETTE]
    with pytest.raises(ValueError, match="num_modes is 0"):
        mode_shades(PALETTE, 0)


def test_mode_colors_follow_class_and_mode():
    classes, modes = np.array([[0, 2]]), np.array([[1, 0]])
    drawn, shades = color_modes(classes, modes, PALETTE, 2), mode_shades(PALETTE, 2)
    assert (drawn[0, 0] == shades[0, 1]).all()
    assert (drawn[0, 1] == shades[2, 0]).all()


def test_confidence_colors_run_from_violet_to_yellow():
    low, high = color_confidence(np.array([[0, 255]], dtype=np.uint8))[0].astype(int)
    assert low[2] > low[1]
    assert min(high[0], high[1]) > 200 > high[2]


def test_bars_are_as_long_as_their_values():
    svg = bar_chart(
        ["road", "sky"],
        {"A": {"road": 20.0, "sky": 80.0}, "B": {"road": 40.0}},
        {"A": "a", "B": "b"},
    )
    bars = ElementTree.fromstring(svg).findall("rect")
    widths = {bar.find("title").text: float(bar.get("width")) for bar in bars}
    assert set(widths) == {"A, road: 20.0 %", "A, sky: 80.0 %", "B, road: 40.0 %"}
    assert widths["A, sky: 80.0 %"] == pytest.approx(4 * widths["A, road: 20.0 %"], abs=0.3)
    assert widths["B, road: 40.0 %"] == pytest.approx(2 * widths["A, road: 20.0 %"], abs=0.2)


def test_curve_points_are_linear_in_round_and_value():
    svg = line_chart({"A": {0: 40.0, 1: 50.0, 3: 45.0}}, {"A": "a"}, label="mIoU")
    points = [
        (float(dot.get("cx")), float(dot.get("cy")))
        for dot in ElementTree.fromstring(svg).findall("circle")
    ]
    (x0, y0), (x1, y1), (x3, y3) = points
    assert x3 - x0 == pytest.approx(3 * (x1 - x0), abs=0.3)
    assert y0 > y3 > y1
    assert y0 - y1 == pytest.approx(2 * (y0 - y3), abs=0.3)


@pytest.mark.parametrize("values", [{0: 0.0}, {1: 100.0, 2: 100.0}, {0: 3.3, 4: 99.9}])
def test_curves_stay_inside_the_chart(values):
    root = ElementTree.fromstring(line_chart({"A": values}, {"A": "a"}, label="x"))
    width, height = map(float, root.get("viewBox").split()[2:])
    for dot in root.findall("circle"):
        assert 0 < float(dot.get("cx")) < width
        assert 0 < float(dot.get("cy")) < height


def test_dots_are_linear_in_their_values_and_strokes_at_their_means():
    panels = {"one": {"A": [30.0, 36.0], "B": [33.0]}, "two": {"A": [36.0]}}
    root = ElementTree.fromstring(
        dot_chart(["A", "B"], panels, {"A": "a"}, label="mIoU", references=["A", "absent"])
    )
    dots = {}
    for dot in root.findall("circle"):
        x, y = float(dot.get("cx")), float(dot.get("cy"))
        dots.setdefault(dot.find("title").text, []).append((x, y))
    first, last = dots["A, one: 30.0 %"][0], dots["A, one: 36.0 %"][0]
    middle, elsewhere = dots["B, one: 33.0 %"][0], dots["A, two: 36.0 %"][0]
    assert middle[0] == pytest.approx((first[0] + last[0]) / 2, abs=0.1)
    assert first[1] == last[1] == elsewhere[1] < middle[1]
    assert elsewhere[0] > last[0]
    strokes = [line for line in root.findall("line") if line.get("class") is None]
    assert [line.get("stroke") for line in strokes].count("a") == 2
    means = [float(line.get("x1")) for line in strokes]
    assert means == pytest.approx([middle[0], middle[0], elsewhere[0]], abs=0.1)
    through = [float(line.get("x1")) for line in root.findall("line[@class='reference']")]
    assert through == pytest.approx([middle[0], elsewhere[0]], abs=0.1)
    assert {dot.get("fill") for dot in root.findall("circle")} == {"a", "#8a94a6"}


def test_chart_without_points_is_refused():
    with pytest.raises(ValueError, match="has no point"):
        line_chart({}, {}, label="empty")
    with pytest.raises(ValueError, match="has no value"):
        dot_chart(["A"], {"one": {"A": []}}, {}, label="empty")


def test_table_has_all_methods_and_leaves_absent_classes_out():
    summary = make_summary()
    del summary["drsl"]["IoU"]["sky"]
    rows = table_rows(summary, CLASSES)
    assert rows[0] == ["in percent", "Source only", "Self-training", "DRSL"]
    assert rows[1] == ["mIoU", "40.0", "50.0", "55.5"]
    assert rows[2] == ["pixel accuracy", "60.0", "70.0", "75.5"]
    assert rows[3:] == [["road", "45.0", "55.0", "60.5"], ["sky", "35.0", "45.0", "-"]]
    lines = format_table(rows).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[2].split() == rows[1]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((40, 50, 55.5), "DRSL 55.5 > Self-training 50.0 > Source only 40.0"),
        ((60, 50, 55.5), "Source only 60.0 > DRSL 55.5 > Self-training 50.0"),
        ((40, 50.01, 50.02), "DRSL 50.0 = Self-training 50.0 > Source only 40.0"),
    ],
)
def test_order_sentence_follows_the_numbers(values, expected):
    sentence = order_sentence(make_summary(*values))
    assert sentence == f"Measured order on this seed: {expected} (mIoU in percent)."


def test_records_of_a_run_with_rounds(tmp_path):
    rounds = {
        "0": {"iteration": 10, "metrics": {"mIoU": 30.0, "aAcc": 60.0, "IoU.sky": None}},
        "1": {
            "iteration": 20,
            "metrics": {"mIoU": 35.0, "aAcc": 61.0, "IoU.sky": 4.0},
            "labels": {"coverage": 0.25},
        },
        "2": {"labels": {"coverage": 0.5}},
    }
    (tmp_path / "rounds.json").write_text(json.dumps(rounds))
    assert evaluations(tmp_path)[10] == {"mIoU": 30.0, "aAcc": 60.0}
    assert metrics_per_round(tmp_path, "mIoU") == {0: 30.0, 1: 35.0}
    assert coverage_per_round(tmp_path) == {1: 25.0, 2: 50.0}
    summary = summarize_metrics(evaluations(tmp_path)[20])
    assert summary == {"mIoU": 35.0, "aAcc": 61.0, "IoU": {"sky": 4.0}}


def test_records_of_a_run_without_rounds(tmp_path):
    assert latest_step(tmp_path / "missing") == 0
    for start, lines in (
        ("20200101_000000", ['{"loss": 1.0, "step": 10}', '{"loss": 1.0, "step": 20}']),
        (
            "20200101_010000",
            ['{"loss": 1, "step": 30}', '{"mIoU": 5.0, "IoU.bus": NaN, "step": 30}', '{"loss": 0.'],
        ),
    ):
        folder = tmp_path / start / "vis_data"
        folder.mkdir(parents=True)
        (folder / "scalars.json").write_text("\n".join(lines))
    assert latest_step(tmp_path) == 30
    assert evaluations(tmp_path) == {30: {"mIoU": 5.0, "step": 30}}


def test_page_is_self_contained_and_complete():
    page = render_report(make_report())
    reader = read_page(page)
    assert reader.sections == [
        "results",
        "classes",
        "rounds",
        "predictions",
        "pseudo-labels",
        "modes",
        "legend",
    ]
    assert reader.loaded
    assert all(address.startswith("data:image/") for address in reader.loaded)
    assert "http" not in page
    assert "url(" not in page
    assert "@import" not in page
    text = " ".join(reader.text)
    assert order_sentence(make_summary()) in text
    assert "Tiny <test> setting." in text
    assert "rider & horse" in text
    assert "Seed 7 · 8.2 minutes" in text
    for title in METHOD_TITLES.values():
        assert title in text


def test_page_shows_the_label_maps_and_their_accuracy():
    report = make_report()
    page = render_report(report)
    drawings = [
        cv2.imdecode(
            np.frombuffer(base64.b64decode(address.split(",")[1]), np.uint8), cv2.IMREAD_COLOR
        )[..., ::-1]
        for address in read_page(page).loaded
        if address.startswith("data:image/png")
    ]
    truth = report.validation[0].truth
    assert (drawings[0] == color_labels(truth, PALETTE)).all()
    share = 100 * (truth[1:] == 0).mean()
    assert f"<figcaption>{share:.1f} %</figcaption>" in page
    assert "<figcaption>100.0 %</figcaption>" in page


def test_modes_are_the_nearest_of_the_predicted_class():
    torch.manual_seed(0)
    cfg = Config.fromfile(CONFIGS / "drsl" / "deeplabv3plus_scenes2scenes.py")
    model = MODELS.build(cfg.model).eval()
    size = (32, 64)
    sample = SegDataSample(metainfo=dict(ori_shape=size, img_shape=size, pad_shape=size))
    sample.gt_sem_seg = PixelData(data=torch.zeros(1, *size, dtype=torch.long))
    image = torch.randint(0, 256, (3, *size), dtype=torch.uint8)
    classes, modes = predict_modes(model, dict(inputs=image, data_samples=sample))
    assert classes.shape == modes.shape == size
    mean, std = (
        np.array(cfg.model.data_preprocessor[key])[:, None, None] for key in ("mean", "std")
    )
    normal = torch.from_numpy((image.numpy()[::-1] - mean) / std).float()[None]
    with torch.no_grad():
        vectors = model.heads["mmdl"](feature_maps(model, normal))
    vectors = torch.nn.Upsample(size=size, mode="bilinear")(vectors)[0].numpy()
    vectors /= np.linalg.norm(vectors, axis=0, keepdims=True)
    representatives = model.heads["mmdl"].modes().detach().numpy()
    for row, column in ((0, 0), (15, 40), (31, 63), (7, 21)):
        own = representatives[classes[row, column]]
        distances = np.linalg.norm(own - vectors[:, row, column], axis=1)
        assert distances[modes[row, column]] == pytest.approx(distances.min(), abs=1e-4)


@pytest.mark.parametrize("factor", [2, 0.5])
def test_modes_of_an_image_that_the_pipeline_resizes(factor):
    torch.manual_seed(0)
    cfg = Config.fromfile(CONFIGS / "drsl" / "deeplabv3plus_scenes2scenes.py")
    model = MODELS.build(cfg.model).eval()
    size, shown = (32, 64), (round(32 / factor), round(64 / factor))
    image = torch.randint(0, 256, (3, *size), dtype=torch.uint8)
    found = []
    for original in (size, shown):
        meta = dict(ori_shape=original, img_shape=size, pad_shape=size)
        sample = SegDataSample(metainfo=meta)
        sample.gt_sem_seg = PixelData(data=torch.zeros(1, *original, dtype=torch.long))
        found.append(predict_modes(model, dict(inputs=image, data_samples=sample)))
    (classes, modes), (shown_classes, shown_modes) = found
    assert shown_classes.shape == shown_modes.shape == shown
    rows, columns = (
        ((np.arange(own) + 0.5) * whole / own).astype(int)
        for own, whole in zip(shown, size, strict=True)
    )
    # Where both say the same class, nearly all modes are the same.
    same = shown_classes == classes[np.ix_(rows, columns)]
    agree = (shown_modes == modes[np.ix_(rows, columns)])[same]
    assert same.mean() > 0.5
    assert agree.mean() > 0.8


def test_model_without_modes_is_refused():
    cfg = Config.fromfile(CONFIGS / "source_only" / "deeplabv3plus_scenes2scenes.py")
    with pytest.raises(ValueError, match="expected an MMDLHead named 'mmdl'"):
        predict_modes(MODELS.build(cfg.model), {})
