"""Class names wherever two things meet, and labels that stock datasets hand on."""

import cv2
import numpy as np
import pytest
from mmseg.registry import DATASETS

from mmdrsl.datasets.class_names import (
    check_class_count,
    check_same_classes,
    classes_of_checkpoint,
    palette_of_checkpoint,
)
from mmdrsl.datasets.label_spaces import CITYSCAPES19, LabelSpace, get_label_space

SPACE = dict(name="yard", classes=["ground", "thing"], palette=[[1, 2, 3], [4, 5, 6]])
TABLE = dict(name="made", ids={0: "thing", 1: "ground"})
STOCK = [dict(type="LoadImageFromFile"), dict(type="LoadAnnotations"), dict(type="PackSegInputs")]


def compare(first, second):
    check_same_classes(first, second, of=("A", "B"), remedy="Mend it.")


def test_the_same_names_are_the_same_in_lists_and_tuples():
    compare(["a", "b"], ("a", "b"))
    compare(None, ("a",))


@pytest.mark.parametrize(
    ("second", "how"),
    [(["b", "a"], "the same names in another order"), (["a", "c"], r"only A: \['b'\], only B: \['c'\]")],
)  # fmt: skip
def test_differences_are_said_with_both_lists(second, how):
    with pytest.raises(ValueError, match=how) as caught:
        compare(["a", "b"], second)
    assert f"A: ['a', 'b']; B: {second}. Mend it." in str(caught.value)


def test_more_classes_than_labels_can_number_are_refused():
    names = tuple(map(str, range(256)))
    check_class_count(names[:255], of="A")
    with pytest.raises(ValueError, match="A has 256 classes"):
        check_class_count(names, of="A")
    LabelSpace("many", names[:255], ((0, 0, 0),) * 255)
    with pytest.raises(ValueError, match="has 256 classes, expected 1 to 255"):
        LabelSpace("many", names, ((0, 0, 0),) * 256)
    with pytest.raises(ValueError, match="has 0 classes"):
        LabelSpace("none", (), ())


def test_a_space_of_a_built_in_name_has_its_classes():
    own = dict(name="cityscapes19", classes=CITYSCAPES19.classes, palette=[[0, 0, 0]] * 19)
    assert get_label_space(own).palette[0] == (0, 0, 0)
    for classes in (CITYSCAPES19.classes[::-1], CITYSCAPES19.classes[:1]):
        own = dict(name="cityscapes19", classes=classes, palette=[[0, 0, 0]] * len(classes))
        with pytest.raises(ValueError, match=r"named 'cityscapes19' .* give yours another name"):
            get_label_space(own)


def test_what_a_checkpoint_notes():
    colors = ((1, 2, 3), (4, 5, 6))
    for meta in (
        dict(dataset_meta=dict(classes=["a", "b"], palette=[[1, 2, 3], [4, 5, 6]])),
        dict(CLASSES=("a", "b"), PALETTE=[[1, 2, 3], [4, 5, 6]]),
    ):
        assert classes_of_checkpoint(dict(meta=meta)) == ("a", "b")
        assert palette_of_checkpoint(dict(meta=meta)) == colors
    for content in ({}, dict(meta=3), dict(meta=dict(dataset_meta=None)), dict(meta={})):
        assert classes_of_checkpoint(content) is None
        assert palette_of_checkpoint(content) == ()


@pytest.fixture
def folder(tmp_path):
    """Two images whose labels hold the ids 0 and 1, and 255."""
    for number in range(2):
        for kind, channels in (("images", 3), ("labels", None)):
            (tmp_path / kind).mkdir(exist_ok=True)
            picture = np.zeros((8, 8) if channels is None else (8, 8, channels), np.uint8)
            picture[4:] = 1
            picture[0] = 255
            cv2.imwrite(str(tmp_path / kind / f"{number}.png"), picture)
    return tmp_path


def own(folder, **options):
    return dict(
        type="LabelledImageDataset", data_root=str(folder), label_space=SPACE,
        table=dict(TABLE, ids={**TABLE["ids"], 255: "void"}, void=["void"]), **options,
    )  # fmt: skip


def test_an_own_dataset_with_a_stock_loader_is_refused(folder):
    inside = [dict(type="RandomApply", transforms=STOCK[1:2], prob=0.5)]
    for pipeline in (STOCK, inside):
        with pytest.raises(
            ValueError, match=r"with LoadAnnotations, which hands .* use LoadLabels"
        ):
            DATASETS.build(own(folder, pipeline=pipeline))
    images = dict(type="UnlabelledDataset", data_root=str(folder / "images"), label_space=SPACE)
    with pytest.raises(ValueError, match="with LoadAnnotations"):
        DATASETS.build(dict(images, pipeline=STOCK))
    pipeline = [dict(type="LoadImage"), dict(type="LoadLabels"), dict(type="PackSegInputs")]
    labels = DATASETS.build(own(folder, pipeline=pipeline))[0]["data_samples"].gt_sem_seg.data
    assert labels[0, 7, 0] == 0


def two_domains(folder, classes, kind="BaseSegDataset"):
    source = dict(
        type=kind, data_root=str(folder), img_suffix=".png", pipeline=STOCK,
        data_prefix=dict(img_path="images", seg_map_path="labels"),
        metainfo=dict(classes=classes, palette=[[0, 0, 0]] * len(classes)),
    )  # fmt: skip
    target = dict(type="UnlabelledDataset", data_root=str(folder / "images"), label_space=SPACE)
    return DATASETS.build(dict(type="TwoDomainDataset", source=source, target=target))


def test_a_stock_source_of_train_ids_is_taken(folder):
    data = two_domains(folder, SPACE["classes"])
    assert data.metainfo["classes"] == SPACE["classes"]


def test_a_stock_source_of_other_ids_is_refused(folder):
    label = folder / "labels" / "1.png"
    cv2.imwrite(str(label), np.full((8, 8), 7, np.uint8))
    with pytest.raises(ValueError, match=r"labels/1\.png .* ids \[7\], expected train ids 0 to 1"):
        two_domains(folder, SPACE["classes"])


def test_a_source_of_classes_in_another_order_is_refused(folder):
    with pytest.raises(ValueError, match="the source differ from those of the target"):
        two_domains(folder, SPACE["classes"][::-1])


def test_placeholders_in_a_checkpoint_are_no_names():
    meta = {"dataset_meta": {"classes": ["a", "a"], "palette": [[0, 0, 0]] * 2}}
    assert classes_of_checkpoint({"meta": meta}) is None
    meta["dataset_meta"]["classes"] = ["a", "b"]
    assert classes_of_checkpoint({"meta": meta}) == ("a", "b")
