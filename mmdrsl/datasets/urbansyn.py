"""UrbanSyn."""

from collections.abc import Mapping
from pathlib import PurePosixPath
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

    def label_name(self, name: str) -> str | None:
        """Name of the label of an image.

        Args:
            name: Path of an image below its folder.

        Returns:
            The label's path below its folder; None where the file is none of the dataset's images.
        """
        return _with_start(super().label_name(name), "rgb_", "ss_")

    def image_name(self, label: str) -> str | None:
        """Name of the image of a label: the inverse of `label_name`.

        Args:
            label: Path of a label below its folder.

        Returns:
            The image's path below its folder; None where the file is none of the dataset's labels.
        """
        return _with_start(super().image_name(label), "ss_", "rgb_")


def _with_start(name: str | None, old: str, new: str) -> str | None:
    """The path with another beginning of the file's name; None where it begins otherwise."""
    if name is None or not PurePosixPath(name).name.startswith(old):
        return None
    path = PurePosixPath(name)
    return str(path.with_name(new + path.name[len(old) :]))
