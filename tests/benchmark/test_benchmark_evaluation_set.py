import json

import cv2
import numpy as np
import pytest
from benchmark_data import CAMVID, COMMON, write_benchmark, write_classes, write_list
from mmengine.config import Config
from mmseg.registry import METRICS

from mmdrsl.benchmark.evaluation_set import (
    read_evaluation_set,
    use_evaluation_set,
    use_target_statistics,
)
from mmdrsl.datasets.camvid import CamVidDataset
from mmdrsl.datasets.labeled import LabelledImageDataset


@pytest.fixture
def root(tmp_path):
    return write_benchmark(tmp_path / "data")


def read(root, folder="camvid", split="val"):
    return read_evaluation_set(root / folder, split, label_space="street10", data=root)


def dataset_of(chosen):
    return LabelledImageDataset(
        **{key: value for key, value in chosen.dataset.items() if key != "type"},
        label_space="street10",
    )


def test_camvid_reads_as_the_class_of_camvid_reads_it(root):
    chosen = read(root)
    assert (chosen.images, chosen.title) == (4, "camvid/val")
    usual = CamVidDataset(data_root=str(root / "camvid"), ann_file="val.txt")
    found = dataset_of(chosen)
    lookup = usual.label_format["label_lookup"]
    np.testing.assert_array_equal(found.label_format["label_lookup"], lookup)
    assert [info["sample_id"] for info in map(found.get_data_info, range(4))] == [
        info["sample_id"] for info in map(usual.get_data_info, range(4))
    ]


def test_other_ids_are_mapped_over_to_common_by_name(root):
    # Ids in another order, common ids in another order: only the names say what is what.
    folder = root / "camvid"
    ids = {20 + number: name for number, name in CAMVID.items()}
    common = {str(9 - number): name for number, name in enumerate(COMMON)}
    (folder / "common_classes.json").write_text(json.dumps({"ids": common}))
    to_common = {20 + number: 9 - number if number < 10 else 255 for number in CAMVID}
    write_classes(folder, ids=ids, to_common=to_common)
    for path in (folder / "labels").glob("*.png"):
        cv2.imwrite(str(path), cv2.imread(str(path), cv2.IMREAD_UNCHANGED) + 20)
    lookup = dataset_of(read(root)).label_format["label_lookup"]
    assert lookup[20:32].tolist() == [*range(10), 255, 255]


def test_names_of_classes_need_no_map(root):
    write_classes(
        root / "camvid", ids=dict(enumerate([*COMMON, "sea"])), to_common={}, ignore_ids=[10]
    )
    chosen = read(root)
    assert chosen.dataset["renames"] == {**{name: name for name in COMMON}, "sea": None}


@pytest.mark.parametrize(
    ("ids", "to_common", "message"),
    [
        ({0: "sky", 1: "Moon"}, {}, r"unknown class 'Moon' \(id 1\)"),
        ({0: "Sky"}, {0: 12}, r"maps 'Sky' to 12, which common_classes.json does not name"),
        ({0: "Sky"}, {0: 0, 7: 1}, r"to_common maps ids \['7'\]"),
        ({0: "Sky", 1: "Sky"}, {0: 0, 1: 1}, r"two ids named 'Sky'"),
    ],
)
def test_unknown_classes_are_errors(root, ids, to_common, message):
    write_classes(root / "camvid", ids=ids, to_common=to_common)
    with pytest.raises(ValueError, match=message):
        read(root)


def test_common_names_must_be_classes_of_the_model(root):
    text = (root / "common_classes.json").read_text().replace("fence", "hedge")
    (root / "common_classes.json").write_text(text)
    with pytest.raises(ValueError, match="'Fence' is mapped to 'hedge', which is no class"):
        read(root)


def test_missing_files_are_named(root):
    with pytest.raises(FileNotFoundError, match=r"night\.txt"):
        read(root, split="night")
    write_list(root / "camvid", "val", ["0016E5_00001", "0016E5_99999"])
    with pytest.raises(FileNotFoundError, match="0016E5_99999"):
        read(root)


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        (
            ["0016E5_00001.png"],
            FileNotFoundError,
            r"0016E5_00001\.png, an image that the list names",
        ),
        (["0016E5_00001", "0016E5_00001.jpg"], ValueError, r"\['0016E5_00001'\] more than once"),
    ],
)
def test_lists_that_a_dataset_would_refuse_after_the_training(root, names, error, message):
    write_list(root / "camvid", "val", names)
    with pytest.raises(error, match=message):
        read(root)


def test_identity_follows_images_and_labels_and_not_the_place(root, tmp_path):
    before = read(root).identity
    (root).rename(tmp_path / "moved")
    moved = tmp_path / "moved"
    assert read(moved).identity == before
    path = moved / "camvid/labels/0016E5_00001.png"
    label = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    label[0, 0] = (label[0, 0] + 1) % 10
    cv2.imwrite(str(path), label)
    after = read(moved).identity
    assert after != before
    image = next((moved / "camvid/images").glob("0016E5_00001.*"))
    cv2.imwrite(str(image), 255 - cv2.imread(str(image)))
    assert read(moved).identity not in (before, after)


def test_a_weight_of_the_target_is_another_evaluation(root, tmp_path):
    usual, quarter, half = (
        read_evaluation_set(
            root / "camvid", "val", label_space="street10", data=root, target_weight=weight
        )
        for weight in (None, 0.25, 0.5)
    )
    assert len({usual.identity, quarter.identity, half.identity}) == 3
    assert quarter.title == "camvid/val, weight 0.25 of the target in the statistics"
    template = Config.fromfile("configs/source_only/deeplabv3plus_carla2camvid.py")
    cfg = Config(dict(custom_hooks=[dict(type="ModeMonitorHook")]))
    use_evaluation_set(cfg, template, quarter)
    use_target_statistics(cfg, template, quarter.target_weight)
    own, added = cfg.custom_hooks
    assert own.type == "ModeMonitorHook"
    assert (added.type, added.target_weight) == ("TestTimeBNHook", 0.25)
    # The target's training images, which have no labels here.
    assert (added.dataset.type, added.dataset.ann_file) == ("UnlabelledDataset", "train.txt")
    cfg = Config()
    use_evaluation_set(cfg, template, usual)
    assert "custom_hooks" not in cfg
    with pytest.raises(ValueError, match=r"must be in \(0, 1\], found 1.5"):
        read_evaluation_set(
            root / "camvid", "val", label_space="street10", data=root, target_weight=1.5
        )


@pytest.mark.parametrize("text", ["[]", '{"names": {}}', '{"ids": ["sky"]}'])
def test_classes_without_ids_are_explained(root, text):
    (root / "camvid" / "classes.json").write_text(text)
    with pytest.raises(
        ValueError, match=r"classes.json (has no 'ids': expected|is no table of names)"
    ):
        read(root)


@pytest.mark.parametrize("text", ["{}", "[1]", "no JSON"])
def test_common_names_without_ids_are_explained(root, text):
    (root / "common_classes.json").write_text(text)
    with pytest.raises(
        ValueError, match=r"common_classes.json (has no 'ids': expected|is no table of names)"
    ):
        read(root)


@pytest.mark.parametrize("more", [{"to_common": [0]}, {"to_common": None}, {"ignore_ids": 8}])
def test_maps_of_another_kind_are_explained(root, more):
    content = json.loads((root / "camvid/classes.json").read_text())
    (root / "camvid/classes.json").write_text(json.dumps({**content, **more}))
    name = next(iter(more))
    with pytest.raises(ValueError, match=rf"classes.json: {name} is .*, expected such as"):
        read(root)


@pytest.mark.parametrize(
    ("names", "sequences"),
    [
        (["night-01_0001", "night-02_0001", "night-02_0002"], {"night-01", "night-02"}),
        (["000000_10", "000001_10"], {""}),
        (["000123", "000124"], {""}),
        (["000123", "rain_000124"], {""}),
    ],
)
def test_sequences_come_from_names_that_have_them(root, names, sequences):
    for name in names:
        for folder, end in (("images", ".jpg"), ("labels", ".png")):
            source = next((root / "camvid" / folder).glob(f"0016E5_00001{end}"))
            (root / "camvid" / folder / f"{name}{end}").write_bytes(source.read_bytes())
    write_list(root / "camvid", "own", names)
    template = Config(
        dict(
            val_dataloader=dict(dataset=dict(label_space="street10", pipeline=[])),
            val_evaluator=dict(type="ClassIoUMetric", group_pattern="(.*)"),
        )
    )
    cfg = Config()
    use_evaluation_set(cfg, template, read(root, split="own"))
    metric = METRICS.build(cfg.test_evaluator)
    assert {metric._group(dict(img_path=f"{name}.jpg")) for name in names} == sequences
