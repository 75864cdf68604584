"""Readers on real files, against tables and counts computed here with Pillow and NumPy alone."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from mmseg.datasets import CityscapesDataset
from PIL import Image

from mmdrsl.datasets import (
    CamVidDataset,
    CARLADataset,
    CityscapesLabelIdsDataset,
    GTA5Dataset,
    UnlabelledDataset,
)

pytestmark = pytest.mark.data

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


def test_gta5_colours_agree_with_the_palette():
    root = data_folder("MMDRSL_SAMPLES", "gta5")
    dataset = GTA5Dataset(data_root=str(root), pipeline=PIPELINE)
    palette = np.array(CityscapesDataset.METAINFO["palette"])
    results = dataset[0]
    label = results["gt_seg_map"]
    colours = np.asarray(Image.open(results["seg_map_path"]).convert("RGB"))
    counted = label != 255
    np.testing.assert_array_equal(colours[counted], palette[label[counted]])


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
