"""Labels and layouts that people have: colors, masks, 16 bits, names of all kinds, options of stock datasets."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmseg.registry import DATASETS
from PIL import Image

from mmdrsl.datasets.file_patterns import FilePatterns
from mmdrsl.datasets.inspection.domain_report import inspect_config, orphan_labels
from mmdrsl.datasets.label_spaces import CITYSCAPES_RENAMES, LabelTable
from mmdrsl.datasets.labeled import LabelledImageDataset
from mmdrsl.datasets.streets import StreetsDataset
from mmdrsl.datasets.synthia import SYNTHIASFDataset
from mmdrsl.datasets.unlabeled import UnlabelledDataset

SPACE = dict(name="farm", classes=["field", "cow"], palette=[[0, 128, 0], [128, 64, 0]])
IDS = dict(name="farm ids", ids={0: "field", 1: "cow"})
COLORS = dict(
    name="farm colors",
    colors={(0, 0, 0): "nothing", (10, 200, 30): "field", (10, 200, 31): "cow"},
    void=["nothing"],
)
TRAIN_IDS = np.array([[255, 0, 0, 1], [1, 1, 0, 255]], np.uint8)
PIPELINE = [dict(type="LoadImage"), dict(type="LoadLabels")]


def write_image(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*TRAIN_IDS.shape, 3), np.uint8)
    assert cv2.imwrite(str(path), pixels)


def write_label(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


def farm(root, **options):
    kind = dict(type="LabelledImageDataset", data_root=str(root), label_space=SPACE, table=IDS)
    return DATASETS.build({**kind, "pipeline": PIPELINE, "test_mode": True, **options})


def colored(ids):
    """Red, green, blue of the color table."""
    palette = {255: (0, 0, 0), 0: (10, 200, 30), 1: (10, 200, 31)}
    return np.array([[palette[value] for value in row] for row in ids.tolist()], np.uint8)


def save_rgb(path):
    Image.fromarray(colored(TRAIN_IDS)).save(path)


def save_rgba(path):
    Image.fromarray(colored(TRAIN_IDS)).convert("RGBA").save(path)


def save_palette(path):
    Image.fromarray(colored(TRAIN_IDS)).convert("P", palette=Image.Palette.ADAPTIVE).save(path)


@pytest.mark.parametrize("save", [save_rgb, save_rgba, save_palette])
@pytest.mark.parametrize("form", ["tuples", "strings", "json"])
def test_colors(tmp_path, save, form):
    write_image(tmp_path / "images/a.png")
    (tmp_path / "labels").mkdir()
    save(tmp_path / "labels/a.png")
    table = COLORS
    if form != "tuples":
        names = {",".join(map(str, key)): name for key, name in COLORS["colors"].items()}
        table = {**COLORS, "colors": names}
    if form == "json":
        (tmp_path / "table.json").write_text(json.dumps(table))
        table = str(tmp_path / "table.json")
    np.testing.assert_array_equal(farm(tmp_path, table=table)[0]["gt_seg_map"], TRAIN_IDS)


def test_colors_survive_a_config_file(tmp_path):
    config = Config(dict(table=COLORS))
    config.dump(tmp_path / "dumped.py")
    again = LabelTable.load(Config.fromfile(tmp_path / "dumped.py").table)
    assert dict(again.colors) == COLORS["colors"]


def test_other_colors_are_named(tmp_path):
    write_image(tmp_path / "images/a.png")
    pixels = colored(TRAIN_IDS)
    pixels[0, :2] = (1, 2, 3)
    write_label(tmp_path / "labels/a.png", pixels[..., ::-1])
    with pytest.raises(ValueError, match=r"a\.png holds colors .*: \(1, 2, 3\) \(2 pixels\);"):
        farm(tmp_path, table=COLORS)
    source = dict(type="LabelledImageDataset", data_root=str(tmp_path), label_space=SPACE)
    config = Config(dict(train_dataloader=dict(dataset={**source, "table": COLORS})))
    problems = inspect_config(config, progress=False)["source"].problems
    assert [kind for kind, _ in problems] == ["unknown ids"]
    write_label(tmp_path / "labels/a.png", TRAIN_IDS)
    with pytest.raises(ValueError, match="expected colors of 8-bit channels or a palette"):
        farm(tmp_path, table=COLORS)
    opacity = np.full(TRAIN_IDS.shape, 254, np.uint8)
    write_label(tmp_path / "labels/a.png", np.dstack([colored(TRAIN_IDS)[..., ::-1], opacity]))
    with pytest.raises(ValueError, match="transparent pixels, whose class is undefined"):
        farm(tmp_path, table=COLORS)
    write_label(tmp_path / "labels/a.png", colored(TRAIN_IDS)[..., ::-1])
    with pytest.raises(ValueError, match="give the label table the colors"):
        farm(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(ids={0: "field"}), "has colors and ids"),
        (dict(channel="red"), "has colors and channel"),
        (dict(colors={(0, 0, 256): "cow"}), r"colors \[\(0, 0, 256\)\] are not in 0..255"),
        (dict(colors={(0, 0): "cow"}), "is no label table"),
        (dict(colors={}), "is no label table"),
    ],
)
def test_wrong_color_tables(change, message):
    with pytest.raises(ValueError, match=message):
        LabelTable.load({**COLORS, "void": [], **change})


def test_16_bit_gray(tmp_path):
    ids = np.where(TRAIN_IDS == 255, 0, TRAIN_IDS.astype(np.uint16) + 999)
    table = dict(name="wide", ids={0: "nothing", 999: "field", 1000: "cow"}, void=["nothing"])
    write_image(tmp_path / "images/a.png")
    write_label(tmp_path / "labels/a.png", ids)
    np.testing.assert_array_equal(farm(tmp_path, table=table)[0]["gt_seg_map"], TRAIN_IDS)
    # Only its low byte is known.
    ids[0, 0] = 999 + 256
    write_label(tmp_path / "labels/a.png", ids)
    with pytest.raises(ValueError, match=r"1255 \(1 pixels\)"):
        farm(tmp_path, table=table)


def test_pseudo_labels_of_16_bits_do_not_wrap(tmp_path):
    write_image(tmp_path / "images/a.png")
    write_label(tmp_path / "round/labels/a.png", np.full(TRAIN_IDS.shape, 256, np.uint16))
    pipeline = [dict(type="LoadImage"), dict(type="LoadPseudoLabels")]
    options = dict(label_space=SPACE, pipeline=pipeline, test_mode=True)
    dataset = UnlabelledDataset(data_root=str(tmp_path / "images"), **options)
    dataset.set_pseudo_labels(str(tmp_path / "round"))
    with pytest.raises(ValueError, match=r"holds ids \[256\]"):
        dataset[0]


def test_masks_of_one_bit(tmp_path):
    mask = TRAIN_IDS == 1
    write_image(tmp_path / "images/a.png")
    (tmp_path / "labels").mkdir()
    Image.fromarray(mask).save(tmp_path / "labels/a.png")
    np.testing.assert_array_equal(farm(tmp_path)[0]["gt_seg_map"], mask)
    longer = {**IDS, "ids": {**IDS["ids"], 2: "cow"}}
    with pytest.raises(ValueError, match="give a label table of the ids 0 and 1"):
        farm(tmp_path, table=longer)


@pytest.mark.parametrize("ending", [".PNG", ".Png"])
def test_endings_of_labels_in_upper_case(tmp_path, ending):
    write_image(tmp_path / "images/x/a.PNG")
    write_image(tmp_path / "images/x/b.png")
    write_label(tmp_path / f"labels/x/a_ids{ending}", TRAIN_IDS.clip(max=1))
    write_label(tmp_path / "labels/x/b_ids.png", TRAIN_IDS.clip(max=1))
    dataset = farm(tmp_path, seg_map_suffix="_ids.png")
    paths = [Path(dataset.get_data_info(index)["seg_map_path"]).name for index in (0, 1)]
    assert paths == [f"a_ids{ending}", "b_ids.png"]
    assert orphan_labels(dataset) == []
    (tmp_path / "images/x/a.PNG").unlink()
    assert orphan_labels(dataset) == [str(tmp_path / f"labels/x/a_ids{ending}")]


LAYOUTS = {
    "sequences": ("s{}/rgb/7.png", "s{}/seg/7.png", "rgb/*.png", "seg/*.png"),
    "prefixes": ("rgb_{}.png", "seg_{}.png", "rgb_*.png", "seg_*.png"),
    "both": ("run{}/left/img-7-c.jpg", "run{}/gt/lab-7.png", "left/img-*-c.jpg", "gt/lab-*.png"),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_file_patterns(tmp_path, name):
    image, label, *patterns = LAYOUTS[name]
    for index in range(2):
        write_image(tmp_path / image.format(index), index)
        write_label(tmp_path / label.format(index), np.full(TRAIN_IDS.shape, index, np.uint8))
    options = dict(
        data_prefix=dict(img_path="", seg_map_path=""),
        file_patterns=dict(zip(("img_path", "seg_map_path"), patterns, strict=True)),
    )
    dataset = farm(tmp_path, **options)
    assert [dataset[index]["gt_seg_map"].max() for index in range(len(dataset))] == [0, 1]
    assert orphan_labels(dataset) == []
    (tmp_path / image.format(0)).unlink()
    assert orphan_labels(dataset) == [str(tmp_path / label.format(0))]
    (tmp_path / "list.txt").write_text(f"{image.format(1)}\n")
    assert len(farm(tmp_path, ann_file="list.txt", **options)) == 1
    other = "other" + patterns[0].rpartition("*")[2]
    (tmp_path / other).write_bytes(b"never opened")
    (tmp_path / "list.txt").write_text(other)
    with pytest.raises(ValueError, match=r"1 of 1 images .* for instance other"):
        farm(tmp_path, ann_file="list.txt", **options)


def test_file_patterns_that_cannot_be(tmp_path):
    def patterns(image, label):
        return dict(img_path=image, seg_map_path=label)

    for image, label in (
        ("a.png", "b.png"),
        ("*/*.png", "*.png"),
        ("**/a.png", "*.png"),
        ("*", "*"),
    ):
        with pytest.raises(ValueError, match="expected equally many single stars"):
            FilePatterns(patterns(image, label))
    with pytest.raises(ValueError, match=r"has the keys \['img_path'\]"):
        FilePatterns(dict(img_path="*.png"))
    with pytest.raises(ValueError, match="in place of img_suffix and seg_map_suffix"):
        farm(tmp_path, file_patterns=patterns("a*.png", "b*.png"), img_suffix=".jpg")
    with pytest.raises(ValueError, match="SYNTHIASFDataset goes by file_patterns"):
        SYNTHIASFDataset(data_root=str(tmp_path), img_suffix=".jpg")


def test_an_image_is_not_its_own_label(tmp_path):
    write_image(tmp_path / "s1/rgb/a.png")
    with pytest.raises(ValueError, match=r"a\.png would be its own label: .*file_patterns"):
        farm(tmp_path, data_prefix=dict(img_path="", seg_map_path=""))


@pytest.mark.parametrize("kind", ["LabelledImageDataset", "UnlabelledDataset"])
def test_options_of_stock_datasets(tmp_path, kind):
    write_image(tmp_path / "images/a.png")
    write_label(tmp_path / "labels/a.png", TRAIN_IDS.clip(max=1))
    options = dict(type=kind, data_root=str(tmp_path), label_space=SPACE)
    if kind == "LabelledImageDataset":
        options["table"] = IDS
    else:
        options["data_prefix"] = dict(img_path="images")
    same = dict(classes=("field", "cow"), palette=[[0, 128, 0], (128, 64, 0)])
    kept = dict(reduce_zero_label=False, ignore_index=255, metainfo=same)
    assert DATASETS.build({**options, **kept}).metainfo["classes"] == ("field", "cow")
    refused = [
        (dict(reduce_zero_label=True), "id 0 a name in the dataset's table, and .* void"),
        (dict(ignore_index=0), "ignore_index is 0, expected 255: .* void"),
        (dict(metainfo=dict(classes=("cow", "field"))), r"differs .*'farm' in \['classes'\]"),
        (dict(metainfo=dict(palette=[[1, 1, 1], [2, 2, 2]])), r"in \['palette'\]: .*label_space="),
        (dict(label_space=["field", "cow"]), "expected a name or a mapping such as"),
    ]
    for change, message in refused:
        with pytest.raises(ValueError, match=message):
            DATASETS.build({**options, **change})


class WithTableOfItsOwn(LabelledImageDataset):
    TABLE = LabelTable(name="own", ids={0: "road", 1: "car", 2: "barrier"})
    LABEL_SPACE = "street11"


class WithRenamesOfItsOwn(WithTableOfItsOwn):
    RENAMES = CITYSCAPES_RENAMES


def test_inherited_renames_count_as_far_as_the_table_has_their_names(tmp_path):
    """Those of Cityscapes lead a car to a vehicle, and start from many names that this table lacks."""
    dataset = WithTableOfItsOwn(data_root=str(tmp_path), lazy_init=True)
    classes = dataset.metainfo["classes"]
    lookup = dataset.label_format["label_lookup"]
    assert [classes[lookup[raw]] for raw in range(3)] == ["road", "vehicle", "barrier"]
    assert StreetsDataset(data_root=str(tmp_path), lazy_init=True).label_space.name == "street11"
    with pytest.raises(ValueError, match=r"renames from .*which own does not have"):
        WithRenamesOfItsOwn(data_root=str(tmp_path), lazy_init=True)
    with pytest.raises(ValueError, match=r"renames from \['tram'\], which own does not have"):
        WithTableOfItsOwn(data_root=str(tmp_path), lazy_init=True, renames={"tram": None})


def test_labeled_images_that_exif_turns(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3
    for name in ("a", "b"):
        (tmp_path / "images").mkdir(exist_ok=True)
        pixels = np.random.default_rng(ord(name)).integers(0, 256, (*TRAIN_IDS.shape, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"images/{name}.png", exif=exif)
        write_label(tmp_path / f"labels/{name}.png", TRAIN_IDS.clip(max=1))
    with pytest.raises(ValueError, match=r"a\.png and 1 others has the EXIF orientation 3"):
        farm(tmp_path)
    with pytest.raises(ValueError, match=r"a\.png has the EXIF orientation 3"):
        farm(tmp_path, check=False)[0]
    options = dict(type="LabelledImageDataset", data_root=str(tmp_path), label_space=SPACE)
    training = dict(
        type="TwoDomainDataset",
        source={**options, "table": IDS},
        target=dict(
            type="UnlabelledDataset", data_root=str(tmp_path / "images"), label_space=SPACE
        ),
    )
    reports = inspect_config(Config(dict(train_dataloader=dict(dataset=training))), progress=False)
    assert [kind for kind, _ in reports["source"].problems] == ["turned image"] * 2
    assert reports["target"].problems == []
    assert reports["target"].remarks == [
        "Images have the EXIF orientations 3 (2 images): they are turned upright when they are loaded."
    ]
