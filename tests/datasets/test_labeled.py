import json
import pickle

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.evaluation import IoUMetric
from mmseg.registry import DATASETS
from PIL import Image

from mmdrsl.datasets.camvid import CamVidDataset
from mmdrsl.datasets.carla import CARLADataset
from mmdrsl.datasets.cityscapes import CityscapesLabelIdsDataset, CityscapesTrainIdsDataset
from mmdrsl.datasets.gta5 import GTA5Dataset, GTA5TrainIdsDataset
from mmdrsl.datasets.inspection.domain_report import orphan_labels
from mmdrsl.datasets.kitti import KITTIDataset, KITTITrainIdsDataset
from mmdrsl.datasets.labeled import LabelledImageDataset
from mmdrsl.datasets.synthia import SYNTHIADataset, SYNTHIASFDataset, SYNTHIATrainIdsDataset

TRAIN_PIPELINE = [{"type": "LoadImage"}, {"type": "LoadLabels"}, {"type": "PackSegInputs"}]
SHAPE = (4, 6)


def write(root, image, label, raw_id, shape=SHAPE, *, save_label=None):
    (root / image).parent.mkdir(parents=True, exist_ok=True)
    (root / label).parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(root / image), np.full((*shape, 3), 100, dtype=np.uint8))
    ids = np.zeros(shape, dtype=np.uint8)
    ids[0] = raw_id
    (save_label or (lambda path, ids: cv2.imwrite(str(path), ids)))(root / label, ids)


def save_palette(path, ids):
    image = Image.fromarray(ids)
    image.putpalette([(91 * value + 3) % 256 for value in range(768)])
    image.save(path)


def save_synthia(path, ids):
    others = np.full(ids.shape, 4321, dtype=np.uint16)
    cv2.imwrite(str(path), np.dstack([others, others, ids.astype(np.uint16)]))


def save_red8(path, ids):
    others = np.full(ids.shape, 99, dtype=np.uint8)
    cv2.imwrite(str(path), np.dstack([others, others, ids]))


CASES = {
    "gta5": (
        GTA5Dataset,
        [("images/00001.png", "labels/00001.png", 7), ("images/2/9.png", "labels/2/9.png", 34)],
        {},
        [0, 255],
        save_palette,
    ),
    "synthia": (
        SYNTHIADataset,
        [("RGB/0000000.png", "GT/LABELS/0000000.png", 3), ("RGB/1.png", "GT/LABELS/1.png", 11)],
        {},
        [0, 15],
        save_synthia,
    ),
    "kitti": (
        KITTIDataset,
        [("training/image_2/000000_10.png", "training/semantic/000000_10.png", 26)],
        {},
        [13],
        None,
    ),
    "cityscapes nested": (
        CityscapesLabelIdsDataset,
        [
            ("leftImg8bit/val/b/b_1_leftImg8bit.png", "gtFine/val/b/b_1_gtFine_labelIds.png", 8),
            ("leftImg8bit/val/a/a_1_leftImg8bit.png", "gtFine/val/a/a_1_gtFine_labelIds.png", 33),
        ],
        {"data_prefix": {"img_path": "leftImg8bit/val", "seg_map_path": "gtFine/val"}},
        [18, 1],
        None,
    ),
    "cityscapes flat": (
        CityscapesLabelIdsDataset,
        [("images/a_leftImg8bit.png", "labels/a_gtFine_labelIds.png", 255)],
        {"data_prefix": {"img_path": "images", "seg_map_path": "labels"}},
        [255],
        None,
    ),
    "cityscapes train ids": (
        CityscapesTrainIdsDataset,
        [
            (
                "leftImg8bit/train/a/a_leftImg8bit.png",
                "gtFine/train/a/a_gtFine_labelTrainIds.png",
                12,
            )
        ],
        {},
        [12],
        None,
    ),
    "gta5 train ids": (
        GTA5TrainIdsDataset,
        [("images/00001.png", "labels/00001_labelTrainIds.png", 18)],
        {},
        [18],
        None,
    ),
    "synthia train ids": (
        SYNTHIATrainIdsDataset,
        # Train ids are Cityscapes' 19; bicycle (18) is the last of SYNTHIA's 16 classes.
        [("RGB/0.png", "GT/LABELS/0_labelTrainIds.png", 18)],
        {},
        [15],
        None,
    ),
    "kitti train ids": (
        KITTITrainIdsDataset,
        [("training/image_2/0_10.png", "training/semantic/0_10_labelTrainIds.png", 255)],
        {},
        [255],
        None,
    ),
    "synthia-sf": (
        SYNTHIASFDataset,
        [
            ("SEQ1/RGBLeft/0.png", "SEQ1/GTLeft/0.png", 1),
            ("SEQ2/RGBLeft/0.png", "SEQ2/GTLeft/0.png", 20),
        ],
        {},
        [0, 255],
        save_red8,
    ),
    "carla": (CARLADataset, [("images/7.jpg", "labels/7.png", 10)], {}, [8], None),
    "camvid": (CamVidDataset, [("images/a.jpg", "labels/a.png", 5)], {}, [5], None),
}


@pytest.mark.parametrize("case", CASES)
def test_published_formats(tmp_path, case):
    dataset_type, files, options, expected, save_label = CASES[case]
    for image, label, raw_id in files:
        write(tmp_path, image, label, raw_id, save_label=save_label)
    dataset = DATASETS.build(
        {
            "type": dataset_type.__name__,
            "data_root": str(tmp_path),
            "pipeline": TRAIN_PIPELINE,
            **options,
        }
    )
    assert type(dataset) is dataset_type
    first_rows = [dataset[i]["data_samples"].gt_sem_seg.data[0, 0] for i in range(len(dataset))]
    assert [row.unique().tolist() for row in first_rows] == [[train_id] for train_id in expected]


def make_source(root, count=3, suffix=".png"):
    for index in range(count):
        write(root, f"images/{index}{suffix}", f"labels/{index}.png", index)
    return root


def test_sample_dictionary_survives_serialization(tmp_path):
    write(tmp_path, "images/city/a.b.png", "labels/city/a.b.png", 7)
    dataset = pickle.loads(pickle.dumps(GTA5Dataset(data_root=str(tmp_path))))
    info = dataset.get_data_info(0)
    assert info["img_path"] == str(tmp_path / "images/city/a.b.png")
    assert info["seg_map_path"] == str(tmp_path / "labels/city/a.b.png")
    assert info["sample_id"] == "city/a.b"
    assert info["label_lookup"][7] == 0
    assert info["label_channel"] is None
    assert info["label_map"] is None
    assert info["reduce_zero_label"] is False
    assert info["seg_fields"] == []


def test_metainfo_comes_from_the_label_space(tmp_path):
    make_source(tmp_path)
    metainfo = GTA5Dataset(data_root=str(tmp_path), label_space="synthia13").metainfo
    assert len(metainfo["classes"]) == len(metainfo["palette"]) == 13
    assert metainfo["classes"][:2] == ("road", "sidewalk")
    assert metainfo["palette"][0] == [128, 64, 128]
    assert metainfo["label_map"] is None


def test_list_file_keeps_its_order_with_or_without_extension(tmp_path):
    make_source(tmp_path, count=4)
    (tmp_path / "train.txt").write_text("3\n\n1.png \n")
    dataset = GTA5Dataset(data_root=str(tmp_path), ann_file="train.txt")
    assert [dataset.get_data_info(i)["sample_id"] for i in range(len(dataset))] == ["3", "1"]


def test_cityscapes_list_file(tmp_path):
    write(
        tmp_path,
        "leftImg8bit/train/a/x_leftImg8bit.png",
        "gtFine/train/a/x_gtFine_labelIds.png",
        7,
    )
    for line in ("a/x_leftImg8bit.png", "a/x_leftImg8bit", "a/x"):
        (tmp_path / "list.txt").write_text(line)
        dataset = CityscapesLabelIdsDataset(data_root=str(tmp_path), ann_file="list.txt")
        assert dataset.get_data_info(0)["sample_id"] == "a/x_leftImg8bit"


def test_suffixes_and_indices(tmp_path):
    make_source(tmp_path, suffix=".jpg")
    dataset = GTA5Dataset(data_root=str(tmp_path), img_suffix=".jpg", indices=2)
    assert len(dataset) == 2


def test_renames_open_another_label_space(tmp_path):
    make_source(tmp_path, suffix=".jpg")
    with pytest.raises(
        ValueError, match=r"CARLA 0\.9\.10 tags: no class of label space 'synthia13'"
    ):
        CARLADataset(data_root=str(tmp_path), label_space="synthia13")
    names = set(CARLADataset.TABLE.ids.values()) - CARLADataset.TABLE.void
    renames = {**dict.fromkeys(names), "Building": "building"}
    dataset = CARLADataset(data_root=str(tmp_path), label_space="synthia13", renames=renames)
    assert dataset.get_data_info(0)["label_lookup"][1] == 2


def test_unknown_label_space_and_prefix(tmp_path):
    with pytest.raises(ValueError, match="unknown label_space 'nine'"):
        GTA5Dataset(data_root=str(tmp_path), label_space="nine")
    with pytest.raises(ValueError, match=r"expected only img_path and seg_map_path"):
        GTA5Dataset(data_root=str(tmp_path), data_prefix={"img": "x"})


def test_missing_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere .*data_root"):
        GTA5Dataset(data_root=str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match=r"images .*data_prefix\['img_path'\]"):
        GTA5Dataset(data_root=str(tmp_path))
    make_source(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"absent .*data_prefix\['seg_map_path'\]"):
        GTA5Dataset(
            data_root=str(tmp_path), data_prefix={"img_path": "images", "seg_map_path": "absent"}
        )


def test_lazy_dataset_checks_when_first_used(tmp_path):
    dataset = GTA5Dataset(data_root=str(tmp_path / "nowhere"), lazy_init=True)
    for _ in range(2):
        with pytest.raises(FileNotFoundError, match="nowhere"):
            dataset.full_init()


def test_missing_labels_are_listed(tmp_path):
    make_source(tmp_path, count=8)
    for index in range(7):
        (tmp_path / f"labels/{index}.png").unlink()
    with pytest.raises(FileNotFoundError) as caught:
        GTA5Dataset(data_root=str(tmp_path), check=False)
    message = str(caught.value)
    assert "7 of 8 images have no label" in message
    assert str(tmp_path / "images/4.png") in message
    assert "5.png" not in message
    assert str(tmp_path / "labels/0.png") in message


def test_orphan_labels_do_not_matter(tmp_path):
    make_source(tmp_path)
    (tmp_path / "labels/orphan.png").write_text("never opened")
    assert len(GTA5Dataset(data_root=str(tmp_path))) == 3


def test_size_check_can_be_turned_off(tmp_path):
    make_source(tmp_path)
    cv2.imwrite(str(tmp_path / "labels/1.png"), np.zeros((9, 9), np.uint8))
    with pytest.raises(ValueError, match=r"1 of 3 labels .*1\.png is 9x9, its image 6x4"):
        GTA5Dataset(data_root=str(tmp_path))
    dataset = GTA5Dataset(data_root=str(tmp_path), check=False, pipeline=TRAIN_PIPELINE)
    with pytest.raises(ValueError, match=r"labels/1\.png is 9x9"):
        dataset[1]


def test_sampled_ids_are_checked(tmp_path):
    make_source(tmp_path)
    cv2.imwrite(str(tmp_path / "labels/2.png"), np.full(SHAPE, 77, np.uint8))
    with pytest.raises(ValueError, match=r"2\.png holds ids .* 77 \(24 pixels\)"):
        GTA5Dataset(data_root=str(tmp_path))
    assert len(GTA5Dataset(data_root=str(tmp_path), check_sample=0)) == 3


def test_stock_iou_metric_counts_at_original_size(tmp_path):
    write(tmp_path, "images/a.png", "labels/a.png", 1)
    pipeline = [
        {"type": "LoadImage"},
        {"type": "Resize", "scale": (12, 8)},
        {"type": "LoadLabels"},
        {"type": "PackSegInputs"},
    ]
    dataset = LabelledImageDataset(data_root=str(tmp_path), pipeline=pipeline, test_mode=True)
    sample = dataset[0]
    assert sample["inputs"].shape == (3, 8, 12)
    data_sample = sample["data_samples"]
    assert data_sample.gt_sem_seg.data.shape == (1, *SHAPE)
    prediction = torch.zeros(1, *SHAPE, dtype=torch.int64)
    prediction[0, 0, :3] = 1
    data_sample.pred_sem_seg = PixelData(data=prediction)
    metric = IoUMetric(iou_metrics=["mIoU"])
    metric.dataset_meta = dataset.metainfo
    metric.process({}, [data_sample.to_dict()])
    # Class 0: 18 of 18 + 3 wrong; class 1: 3 of 6.
    assert metric.evaluate(1)["mIoU"] == pytest.approx(100 * (18 / 21 + 3 / 6) / 2, abs=0.01)


def test_synthia_sf_leaves_other_folders_out(tmp_path):
    write(tmp_path, "SEQ1/RGBLeft/0.png", "SEQ1/GTLeft/0.png", 1, save_label=save_red8)
    write(tmp_path, "SEQ1/RGBRight/0.png", "SEQ1/DepthLeft/0.png", 1)
    dataset = SYNTHIASFDataset(data_root=str(tmp_path), pipeline=TRAIN_PIPELINE)
    assert len(dataset) == 1
    assert orphan_labels(dataset) == []
    (tmp_path / "SEQ1/RGBLeft/0.png").rename(tmp_path / "SEQ1/RGBLeft/1.png")
    assert orphan_labels(dataset) == [str(tmp_path / "SEQ1/GTLeft/0.png")]
    (tmp_path / "SEQ1/RGBLeft/1.png").unlink()
    with pytest.raises(ValueError, match=r"3 of 3 images in .* none of SYNTHIASFDataset"):
        SYNTHIASFDataset(data_root=str(tmp_path))


def test_table_replaces_ids_and_channel(tmp_path):
    write(tmp_path, "SEQ1/RGBLeft/0.png", "SEQ1/GTLeft/0.png", 5, save_label=save_synthia)
    with pytest.raises(ValueError, match=r"expected 3 or 4 channels of uint8"):
        SYNTHIASFDataset(data_root=str(tmp_path))
    table = tmp_path / "table.json"
    content = {"name": "mine", "ids": {"0": "void", "5": "car"}, "void": ["void"], "channel": "red"}
    table.write_text(json.dumps(content))
    dataset = SYNTHIASFDataset(data_root=str(tmp_path), table=str(table), pipeline=TRAIN_PIPELINE)
    assert dataset[0]["data_samples"].gt_sem_seg.data[0, 0].unique().tolist() == [13]
    with pytest.raises(FileNotFoundError, match="no label table"):
        SYNTHIASFDataset(data_root=str(tmp_path), table=str(tmp_path / "none.json"))
    for wrong in ("[]", "{", '{"name": "x"}', '{"name": "x", "ids": {"a": "b"}}'):
        table.write_text(wrong)
        with pytest.raises(ValueError, match=r"table\.json is no label table"):
            SYNTHIASFDataset(data_root=str(tmp_path), table=str(table))
    table.write_text(json.dumps({**content, "channel": "alpha"}))
    with pytest.raises(ValueError, match="unknown label channel 'alpha'"):
        SYNTHIASFDataset(data_root=str(tmp_path), table=str(table))


def test_converted_labels_beside_published_ones_are_no_orphans(tmp_path):
    make_source(tmp_path)
    write(tmp_path, "images/0.png", "labels/0_labelTrainIds.png", 1)
    assert orphan_labels(GTA5Dataset(data_root=str(tmp_path))) == []
    (tmp_path / "images/1.png").unlink()
    assert orphan_labels(GTA5Dataset(data_root=str(tmp_path))) == [str(tmp_path / "labels/1.png")]


def test_table_and_label_space_of_plain_values(tmp_path):
    """A pair of one's own needs no class: everything stands in the config."""
    write(tmp_path, "images/0.png", "labels/0.png", 4)
    space = dict(name="two", classes=["road", "cow"], palette=[[1, 2, 3], [4, 5, 6]])
    table = dict(name="farm", ids={0: "void", 4: "kuh", 5: "way"}, void=["void"])
    options = dict(data_root=str(tmp_path), label_space=space, table=table)
    dataset = LabelledImageDataset(
        renames={"kuh": "cow", "way": "road"}, pipeline=TRAIN_PIPELINE, **options
    )
    assert dataset.metainfo["classes"] == ("road", "cow")
    assert dataset.metainfo["palette"] == [[1, 2, 3], [4, 5, 6]]
    assert dataset[0]["data_samples"].gt_sem_seg.data[0, 0].unique().tolist() == [1]
    with pytest.raises(ValueError, match=r"farm: no class of label space 'two' for \['way'\]"):
        LabelledImageDataset(renames={"kuh": "cow"}, **options)
    with pytest.raises(ValueError, match="needs name, classes and a palette"):
        LabelledImageDataset(**{**options, "label_space": dict(classes=["a"])})
