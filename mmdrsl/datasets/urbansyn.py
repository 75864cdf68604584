"""UrbanSyn."""

from collections.abc import Mapping
from typing import ClassVar

from mmseg.registry import DATASETS

from mmdrsl.datasets.label_spaces import CITYSCAPES19, IGNORE_INDEX, LabelTable
from mmdrsl.datasets.labeled import LabelledImageDataset

URBANSYN_TABLE = LabelTable(
    name="UrbanSyn",
    ids={**dict(enumerate(CITYSCAPES19.classes)), 19: "unlabeled", IGNORE_INDEX: "void"},
    void=frozenset({"unlabeled", "void"}),
)
"""Ids of UrbanSyn, NOT checked against its files: Cityscapes' train ids, 19 for what has no label."""


@DATASETS.register_module()
class UrbanSynDataset(LabelledImageDataset):
    """UrbanSyn (Gomez et al., "All for One, and One for All: UrbanSyn Dataset", 2023), 7,539 images.

    `rgb/rgb_<number>.png` belongs to `ss/ss_<number>.png`. The label table could NOT be checked against the files: the
    doctor (`mmdrsl check`) says which ids it finds. Arguments are those of `LabelledImageDataset`.
    """

    TABLE: ClassVar[LabelTable] = URBANSYN_TABLE
    DATA_PREFIX: ClassVar[Mapping[str, str]] = {"img_path": "rgb", "seg_map_path": "ss"}
    FILE_PATTERNS: ClassVar[Mapping[str, str]] = {
        "img_path": "rgb_*.png",
        "seg_map_path": "ss_*.png",
    }
