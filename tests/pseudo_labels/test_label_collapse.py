import cv2
import numpy as np
import pytest

from mmdrsl.datasets.labeled import LabelledImageDataset
from mmdrsl.pseudo_labels.artifact import RoundManifest
from mmdrsl.pseudo_labels.label_collapse import collapse_problems, shown_classes

CLASSES = ["road", "rider", "train"]


def problems(coverage, kept, portion=0.3, shown=("road", "rider")):
    manifest = RoundManifest(
        round=1, model_hash="", classes=CLASSES, policy={}, thresholds={}, coverage=coverage,
        kept_share=dict(zip(CLASSES, kept, strict=True)), images={},
    )  # fmt: skip
    return collapse_problems(manifest, portion=portion, source_classes=shown)


def test_sound_labels_and_classes_that_the_source_lacks():
    assert problems(0.3, (0.4, 0.2, 0.0)) == []
    # A policy may be sure of a class, and then keeps all of it.
    assert problems(0.9, (1.0, 0.2, 0.0)) == []


def test_no_coverage_or_too_little():
    (nothing, classes) = problems(0.0, (0.0, 0.0, 0.0))
    assert nothing == "0.00% of the pixels have a label, the portion is 30%"
    assert classes == "2 of 2 classes of the source have no label: road, rider"
    assert problems(0.15, (0.2, 0.2, 0.0)) == []
    assert problems(0.149, (0.2, 0.2, 0.0)) == [
        "14.90% of the pixels have a label, the portion is 30%"
    ]
    assert problems(0.0, (0.1, 0.1, 0.1), portion=None) == ["0.00% of the pixels have a label"]
    assert problems(0.01, (0.1, 0.1, 0.1), portion=None) == []


def test_classes_without_labels_are_named():
    assert problems(0.3, (0.4, 0.0, 0.0)) == ["1 of 2 classes of the source have no label: rider"]


@pytest.mark.parametrize(("num_labels", "expected"), [(100, ["road", "rider"]), (1, ["road"])])
def test_classes_that_the_source_shows(tmp_path, num_labels, expected):
    for index, raw in enumerate((1, 1, 5, 0)):
        for folder in ("images", "labels"):
            (tmp_path / folder).mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / folder / f"{index}.png"), np.full((4, 4), raw, np.uint8))
    dataset = LabelledImageDataset(
        data_root=str(tmp_path),
        label_space=dict(name="roads", classes=CLASSES, palette=[[i] * 3 for i in range(3)]),
        table=dict(name="raw", ids={0: "void", 1: "road", 5: "rider", 9: "train"}, void=["void"]),
    )
    assert shown_classes(dataset, num_labels=num_labels) == expected
