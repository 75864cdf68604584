import base64
import json
from dataclasses import replace
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from mmdrsl.visualization.colors import (
    color_confidence,
    color_labels,
    color_modes,
    method_colors,
    mode_shades,
)
from mmdrsl.visualization.progress_page import render_progress
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
from mmdrsl.visualization.run_report import FOLDER
from mmdrsl.visualization.snapshots import Cell, save_snapshot
from mmdrsl.visualization.summary import format_table, order_sentence, table_rows

CLASSES = ("road", "sky", "rider & horse")
PALETTE = ((128, 64, 128), (70, 130, 180), (255, 0, 0))
TITLES = {"source_only": "Source only", "self_training": "Self-training", "drsl": "DRSL"}


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
        titles=TITLES,
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


def test_page_of_a_comparison_that_runs_shows_the_newest_pictures(tmp_path):
    gray = np.full((8, 16, 3), 90, np.uint8)
    runs = {"begun": tmp_path / "begun", "Not <begun>": tmp_path / "not_begun"}

    def page_now():
        state = "1 of 2 runs done"
        return render_progress(heading="A & B", state=state, images=[("Look", gray)], runs=runs)

    before = read_page(page_now())
    assert before.sections == ["data"]
    assert len(before.loaded) == 1
    for step, group in ((1, "batch"), (2, "batch"), (3, "target"), (4, "batch")):
        cells = [Cell(title=f"{group} at {step}", image=gray)]
        save_snapshot(tmp_path / "begun" / FOLDER, group, step, [("image", cells)])
    page = page_now()
    reader = read_page(page)
    assert reader.sections == ["data", "run-0"]
    assert all(loaded.startswith("data:image/") for loaded in reader.loaded)
    # Pictures of the target say more than those of a batch.
    assert "target at 3" in reader.text
    assert "Begun" in reader.text
    assert "At step 3." in reader.text
    assert "batch" not in page
    assert "Not finished: 1 of 2 runs done." in "".join(reader.text)


def test_oracle_is_shown_and_not_ranked():
    report = make_report()
    summary = {**report.summary, "oracle": {"mIoU": 80.0, "aAcc": 90.0, "IoU": {"road": 88.0}}}
    facts = [("command", "python a.py --x '<1>'")]
    titles = {**TITLES, "oracle": "Oracle (stored)"}
    text = "Of 55.5, 42.0 are there before."
    page = render_report(
        replace(report, summary=summary, titles=titles, facts=facts, result_text=text)
    )
    reader = read_page(page)
    shown = "".join(reader.text)
    assert reader.sections[-1] == "run"
    assert "python a.py --x '<1>'" in shown
    assert text in shown
    assert "Oracle (stored)80.0" in shown
    assert "Measured order on this seed: DRSL 55.5 > Self-training 50.0 > Source only 40.0" in shown
    assert '<td class="best">55.5</td><td>80.0</td>' in page


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


def test_methods_have_different_colors():
    methods = ["source_only", "other", "drsl", "another"]
    assert len(set(method_colors(methods).values())) == 4
    assert method_colors(["drsl"])["drsl"] == method_colors(methods)["drsl"]


def test_table_has_the_titled_methods_and_leaves_absent_classes_out():
    summary = {**make_summary(), "bound": {"mIoU": 80.0}}
    del summary["drsl"]["IoU"]["sky"]
    rows = table_rows(summary, CLASSES, {**TITLES, "bound": "Bound"})
    assert rows[0] == ["in percent", "Source only", "Self-training", "DRSL", "Bound"]
    assert rows[1] == ["mIoU of 1 to 2 classes", "40.0", "50.0", "55.5", "80.0"]
    assert rows[2] == ["pixel accuracy", "60.0", "70.0", "75.5", "-"]
    assert rows[3:] == [["road", "45.0", "55.0", "60.5", "-"], ["sky", "35.0", "45.0", "-", "-"]]
    lines = format_table(rows).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[2].split()[-4:] == rows[1][1:]
    assert table_rows(summary, CLASSES, {"drsl": "DRSL"})[0] == ["in percent", "DRSL"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((40, 50, 55.5), "DRSL 55.5 > Self-training 50.0 > Source only 40.0"),
        ((60, 50, 55.5), "Source only 60.0 > DRSL 55.5 > Self-training 50.0"),
        ((40, 50.01, 50.02), "DRSL 50.0 = Self-training 50.0 > Source only 40.0"),
    ],
)
def test_order_sentence_follows_the_numbers(values, expected):
    sentence = order_sentence(make_summary(*values), TITLES)
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
    assert order_sentence(make_summary(), TITLES) in text
    assert "Tiny <test> setting." in text
    assert "rider & horse" in text
    assert "Seed 7 · 8.2 minutes" in text
    for title in TITLES.values():
        assert title in text


def test_page_without_runs_has_the_numbers_alone():
    titles = {"source_only": "Source only", "drsl": "DRSL", "oracle": "Oracle"}
    summary = {**make_summary(), "oracle": {"mIoU": 80.0, "IoU": {"road": 90.0}}}
    report = Report(
        titles=titles,
        summary=summary,
        setting="Stored results.",
        classes=CLASSES,
        palette=PALETTE,
        miou={},
        coverage={},
    )
    page = render_report(report)
    assert read_page(page).sections == ["results", "classes", "legend"]
    # The best of the methods without labels of the target, not the oracle.
    assert '<td class="best">55.5</td><td>80.0</td>' in page


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
