"""Datasets of other pairs on made files in their published layouts, against their published ids."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmseg.datasets import BDD100KDataset, CityscapesDataset, DarkZurichDataset
from mmseg.registry import DATASETS

from mmdrsl.datasets.acdc import ACDCDataset, ACDCImagesDataset

PAIRS = Path(__file__).parents[2] / "configs" / "_base_" / "pairs"
NAMES = CityscapesDataset.METAINFO["classes"]
# Label ids of cityscapesScripts, of the 19 classes in their order, and some that are ignored.
LABEL_IDS = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]
# Vistas 1.2: id and class of Cityscapes; ignored are bird, crosswalk, its marking, the back of a sign, unlabeled.
VISTAS = {
    13: "road", 24: "road", 41: "road", 2: "sidewalk", 15: "sidewalk", 17: "building", 6: "wall",
    3: "fence", 45: "pole", 47: "pole", 48: "traffic light", 50: "traffic sign", 30: "vegetation",
    29: "terrain", 27: "sky", 19: "person", 20: "rider", 21: "rider", 22: "rider", 55: "car",
    61: "truck", 54: "bus", 58: "train", 57: "motorcycle", 52: "bicycle",
    0: None, 8: None, 23: None, 49: None, 65: None,
}  # fmt: skip
BY_LABEL_ID = {**dict(zip(LABEL_IDS, NAMES, strict=True)), 0: None, 4: None, 9: None, 29: None}
BY_TRAIN_ID = {**dict(enumerate(NAMES)), 255: None}
# Pair, path of an image, path of its label, raw ids.
LAYOUTS = {
    "cs2acdc": (
        "acdc/rgb_anon/fog/val/GOPR0475/GOPR0475_frame_000041_rgb_anon.png",
        "acdc/gt/fog/val/GOPR0475/GOPR0475_frame_000041_gt_labelIds.png",
        BY_LABEL_ID,
    ),
    "cs2darkzurich": (
        "dark_zurich/rgb_anon/val/night/GOPR0356/GOPR0356_frame_000321_rgb_anon.png",
        "dark_zurich/gt/val/night/GOPR0356/GOPR0356_frame_000321_gt_labelTrainIds.png",
        BY_TRAIN_ID,
    ),
    "gta2bdd": (
        "bdd100k/images/10k/val/7d06fefd-f7be05a6.jpg",
        "bdd100k/labels/sem_seg/masks/val/7d06fefd-f7be05a6.png",
        BY_TRAIN_ID,
    ),
    "gta2mapillary": (
        "mapillary/validation/images/_1Gn_xkw7sa_i9GU4mkxxQ.jpg",
        "mapillary/validation/v1.2/labels/_1Gn_xkw7sa_i9GU4mkxxQ.png",
        VISTAS,
    ),
    "urbansyn2cs": (
        "urbansyn/rgb/rgb_0001.png",
        "urbansyn/ss/ss_0001.png",
        {**BY_TRAIN_ID, 19: None},
    ),
    "synscapes2cs": ("synscapes/img/rgb/1.png", "synscapes/img/class/1.png", BY_LABEL_ID),
}
# Where the dataset of the pair that has labels stands in its base.
SOURCES = ("urbansyn2cs", "synscapes2cs")


def write(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


@pytest.mark.parametrize("pair", LAYOUTS)
def test_every_published_id_becomes_its_class(pair, tmp_path, monkeypatch):
    image, label, ids = LAYOUTS[pair]
    raw = np.array([list(ids)], np.uint8).repeat(4, axis=0)
    write(tmp_path / image, np.zeros((*raw.shape, 3), np.uint8))
    write(tmp_path / label, raw)
    monkeypatch.setenv("MMDRSL_SAMPLES", str(tmp_path))
    cfg = Config.fromfile(PAIRS / f"{pair}.py")
    options = cfg.train_dataloader.dataset.source if pair in SOURCES else cfg.val_dataloader.dataset
    pipeline = [dict(type="LoadImage"), dict(type="LoadLabels")]
    dataset = DATASETS.build({**options, "pipeline": pipeline})
    assert len(dataset) == 1
    found = dataset[0]["gt_seg_map"][0].tolist()
    expected = [255 if name is None else NAMES.index(name) for name in ids.values()]
    assert found == expected
    # The label belongs to no other image.
    assert (
        dataset.image_name(dataset.label_name(name := image_below(dataset, tmp_path / image)))
        == name
    )


def image_below(dataset, path):
    return str(path.relative_to(dataset.data_prefix["img_path"]))


@pytest.mark.parametrize(
    ("pair", "stock"), [("cs2darkzurich", DarkZurichDataset), ("gta2bdd", BDD100KDataset)]
)
def test_the_same_files_as_the_stock_dataset(pair, stock, tmp_path, monkeypatch):
    image, label, _ = LAYOUTS[pair]
    write(tmp_path / image, np.zeros((4, 4, 3), np.uint8))
    write(tmp_path / label, np.zeros((4, 4), np.uint8))
    monkeypatch.setenv("MMDRSL_SAMPLES", str(tmp_path))
    options = Config.fromfile(PAIRS / f"{pair}.py").val_dataloader.dataset
    own = DATASETS.build({**options, "pipeline": []})
    theirs = stock(data_root=options.data_root, data_prefix=dict(options.data_prefix))
    for key in ("img_path", "seg_map_path"):
        found, expected = (Path(data.get_data_info(0)[key]) for data in (own, theirs))
        assert found == expected
    assert tuple(own.metainfo["classes"]) == tuple(theirs.metainfo["classes"])


@pytest.fixture
def acdc(tmp_path):
    for condition in ("fog", "night"):
        for split in ("train", "val", "train_ref"):
            name = f"{condition}/{split}/GOPR1/GOPR1_frame_{condition}_{split}"
            write(tmp_path / "rgb_anon" / f"{name}_rgb_anon.png", np.zeros((4, 4, 3), np.uint8))
            if split != "train_ref":
                write(tmp_path / "gt" / f"{name}_gt_labelIds.png", np.full((4, 4), 7, np.uint8))
    return str(tmp_path)


def ids_of(dataset):
    return {
        dataset.get_data_info(index)["sample_id"].rpartition("/")[2]
        for index in range(len(dataset))
    }


def test_conditions_and_splits_of_acdc(acdc):
    images = ids_of(ACDCImagesDataset(data_root=acdc))
    assert images == {f"GOPR1_frame_{name}_train_rgb_anon" for name in ("fog", "night")}
    night = ACDCImagesDataset(data_root=acdc, conditions=["night"], split="val")
    assert ids_of(night) == {"GOPR1_frame_night_val_rgb_anon"}
    labeled = ACDCDataset(data_root=acdc, conditions=["fog"], split="val")
    assert ids_of(labeled) == {"GOPR1_frame_fog_val_rgb_anon"}
    with pytest.raises(ValueError, match=r"none of the 6 images .* is of \['snow'\], train"):
        ACDCImagesDataset(data_root=acdc, conditions=["snow"])
    for options in (dict(conditions=["dusk"]), dict(conditions=[])):
        with pytest.raises(ValueError, match="conditions must be a list of"):
            ACDCDataset(data_root=acdc, **options)
    with pytest.raises(TypeError, match="conditions is 'fog', expected a list"):
        ACDCDataset(data_root=acdc, conditions="fog")
    with pytest.raises(ValueError, match="split must be"):
        ACDCDataset(data_root=acdc, split="test")


def test_vistas_in_other_label_spaces(tmp_path):
    raw = np.array([[13, 55, 20, 3]], np.uint8).repeat(4, axis=0)
    write(tmp_path / "validation/images/a.jpg", np.zeros((*raw.shape, 3), np.uint8))
    write(tmp_path / "validation/labels/a.png", raw)
    options = dict(
        type="MapillaryVistasDataset",
        data_root=str(tmp_path),
        label_space="street11",
        pipeline=[dict(type="LoadImage"), dict(type="LoadLabels")],
    )
    dataset = DATASETS.build(options)
    classes = list(dataset.metainfo["classes"])
    wanted = [classes.index(name) for name in ("road", "vehicle", "person", "barrier")]
    assert dataset[0]["gt_seg_map"][0].tolist() == wanted
