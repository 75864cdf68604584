"""Readers on real files, against tables and counts computed here with Pillow and NumPy alone."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmseg.datasets import CityscapesDataset
from mmseg.registry import DATASETS
from PIL import Image

from mmdrsl.datasets.camvid import CamVidDataset
from mmdrsl.datasets.carla import CARLADataset
from mmdrsl.datasets.cityscapes import CityscapesLabelIdsDataset
from mmdrsl.datasets.gta5 import GTA5Dataset
from mmdrsl.datasets.unlabeled import UnlabelledDataset

pytestmark = pytest.mark.data

CONFIGS = Path(__file__).parents[2] / "configs"
PIPELINE = [{"type": "LoadImage"}, {"type": "LoadLabels"}]
FLAT = {"img_path": "images", "seg_map_path": "labels"}
NAME_TO_ID = dict(
    zip(
        CityscapesDataset.METAINFO["classes"],
        [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33],
        strict=True,
    )
)


def data_folder(variable, *parts):
    root = os.environ.get(variable)
    if not root:
        pytest.skip(f"{variable} is not set")
    folder = Path(root, *parts)
    if not folder.is_dir():
        pytest.skip(f"{variable} has no {folder}")
    return folder


@pytest.mark.parametrize(
    ("dataset_type", "folder", "size"),
    [
        (GTA5Dataset, "gta5", (1052, 1914)),
        (CityscapesLabelIdsDataset, "cityscapes", (1024, 2048)),
    ],
)
def test_pixel_counts_of_samples(dataset_type, folder, size):
    root = data_folder("MMDRSL_SAMPLES", folder)
    dataset = dataset_type(data_root=str(root), data_prefix=FLAT, pipeline=PIPELINE)
    assert len(dataset) == len(list((root / "images").glob("*.png")))
    for index in range(len(dataset)):
        results = dataset[index]
        raw = np.asarray(Image.open(results["seg_map_path"]))
        assert results["gt_seg_map"].shape == raw.shape == size
        counts = [
            np.count_nonzero(raw == NAME_TO_ID[name])
            for name in CityscapesDataset.METAINFO["classes"]
        ]
        found = np.bincount(results["gt_seg_map"].ravel(), minlength=256)
        np.testing.assert_array_equal(found[:19], counts)
        assert found[255] == raw.size - sum(counts)


# Pixels of the 19 classes in the order of the train ids, then all others. Counted once, apart from this project:
# Pillow gave each label's bytes, Python's bytes.count counted the ids that cityscapesScripts' helpers/labels.py lists
# (version 1.5.0, those with ignoreInEval False, by trainId).
COUNTED = {
    "gta5/labels/08688.png": (
        "65375 628104 550714 0 0 54280 11192 0 347916 7498 171455 69523 243 23958 6931 0 0 313 0",
        76026,
    ),
    "gta5/labels/11851.png": (
        "148881 543087 246259 16577 11723 11678 0 0 161347 209173 553082 2021 0 24367 7236 0 9 0 0",
        78088,
    ),
    "cityscapes/labels/frankfurt_000001_073464_gtFine_labelIds.png": (
        "781200 1497 383444 960 16714 19084 2912 17392 253649 0 28006 0 12828 326857 0 0 0 802 5761",
        246046,
    ),
    "cityscapes/labels/hanover_000000_032681_gtFine_labelIds.png": (
        "741190 0 253485 0 0 12456 0 3001 277799 3465 29309 181 0 337030 0 0 0 0 0",
        439236,
    ),
    "cityscapes/labels/zurich_000066_000019_gtFine_labelIds.png": (
        "744106 69107 793684 0 0 801 0 2646 9120 0 14445 90680 0 236801 0 0 0 0 0",
        135762,
    ),
}


@pytest.mark.parametrize("name", COUNTED)
def test_pixel_counts_written_down(name):
    folder, _, label = name.split("/")
    root = data_folder("MMDRSL_SAMPLES", folder)
    dataset_type = GTA5Dataset if folder == "gta5" else CityscapesLabelIdsDataset
    dataset = dataset_type(data_root=str(root), data_prefix=FLAT, pipeline=PIPELINE)
    found = [dataset[i] for i in range(len(dataset))]
    (results,) = [item for item in found if item["seg_map_path"].endswith(label)]
    counts = np.bincount(results["gt_seg_map"].ravel(), minlength=256)
    numbers, ignored = COUNTED[name]
    expected = [int(number) for number in numbers.split()]
    assert counts[:19].tolist() == expected
    assert counts[255] == ignored
    assert counts.sum() == sum(expected) + ignored


def test_gta5_colors_agree_with_the_palette():
    root = data_folder("MMDRSL_SAMPLES", "gta5")
    dataset = GTA5Dataset(data_root=str(root), pipeline=PIPELINE)
    palette = np.array(CityscapesDataset.METAINFO["palette"])
    results = dataset[0]
    label = results["gt_seg_map"]
    colors = np.asarray(Image.open(results["seg_map_path"]).convert("RGB"))
    counted = label != 255
    np.testing.assert_array_equal(colors[counted], palette[label[counted]])


@pytest.mark.parametrize(
    ("dataset_type", "folder", "split"),
    [(CARLADataset, "carla", "heldout"), (CamVidDataset, "camvid", "val")],
)
def test_benchmark_tables_and_files(dataset_type, folder, split):
    root = data_folder("MMDRSL_BENCHMARK", folder)
    published = json.loads((root / "classes.json").read_text())
    assert {str(raw_id): name for raw_id, name in dataset_type.TABLE.ids.items()} == published[
        "ids"
    ]
    dataset = dataset_type(data_root=str(root), ann_file=f"{split}.txt", pipeline=PIPELINE)
    common = json.loads((root.parent / "common_classes.json").read_text())["ids"]
    assert dict(enumerate(dataset.metainfo["classes"])) == {int(k): v for k, v in common.items()}
    to_common = {int(raw_id): common_id for raw_id, common_id in published["to_common"].items()}
    lookup = dataset.get_data_info(0)["label_lookup"]
    assert {i: int(train_id) for i, train_id in enumerate(lookup) if train_id >= 0} == to_common
    assert len(dataset) == len((root / f"{split}.txt").read_text().split())
    results = dataset[3]
    raw = np.asarray(Image.open(results["seg_map_path"]))
    np.testing.assert_array_equal(results["gt_seg_map"], np.vectorize(to_common.get)(raw))


def test_benchmark_target_without_labels():
    root = data_folder("MMDRSL_BENCHMARK", "camvid")
    dataset = UnlabelledDataset(
        data_root=str(root),
        data_prefix={"img_path": "images"},
        ann_file="train.txt",
        label_space="street10",
        pipeline=[{"type": "LoadImage"}, {"type": "LoadPseudoLabels"}],
    )
    results = dataset[0]
    assert len(dataset) == 266
    assert results["gt_seg_map"].shape == (240, 320)
    assert (results["gt_seg_map"] == 255).all()


@pytest.mark.parametrize("part", ["source_dataset", "target_dataset", "oracle_dataset", "val"])
def test_streets_to_cityscapes_counts_every_pixel_by_the_files_names(part):
    root = data_folder("MMDRSL_STREETS2CITYSCAPES")
    config = Config.fromfile(CONFIGS / "_base_/pairs/streets2cs.py")
    options = config.val_dataloader.dataset if part == "val" else config[part]
    pipeline = PIPELINE[:1] if part == "target_dataset" else PIPELINE
    dataset = DATASETS.build({**options, "pipeline": pipeline, "indices": 5})
    assert Path(dataset.data_root).parent == root
    assert tuple(dataset.metainfo["classes"]) == tuple(
        json.loads((root / "common_classes.json").read_text())["ids"].values()
    )
    assert len(dataset) == 5
    if part == "target_dataset":
        return
    table = json.loads((Path(dataset.data_root) / "classes.json").read_text())["to_common"]
    for index in range(5):
        results = dataset[index]
        raw = np.asarray(Image.open(results["seg_map_path"]))
        expected = np.full(raw.shape, 255)
        for raw_id, common in table.items():
            expected[raw == int(raw_id)] = common
        np.testing.assert_array_equal(results["gt_seg_map"], expected)
