"""ACDC: Cityscapes' classes in fog, at night, in rain and in snow."""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, ClassVar

from mmseg.registry import DATASETS

from mmdrsl.datasets.label_spaces import CITYSCAPES_TABLE, LabelTable
from mmdrsl.datasets.labeled import LabelledImageDataset
from mmdrsl.datasets.unlabeled import UnlabelledDataset

CONDITIONS = ("fog", "night", "rain", "snow")
"""The conditions, as the folders are named."""


def is_of(name: str, conditions: frozenset[str], split: str) -> bool:
    """Whether a file belongs to one of some conditions and to a split.

    Args:
        name: Path below `rgb_anon/` or `gt/`, such as ``fog/train/GOPR0475/...``.
        conditions: Names of conditions.
        split: Name of the split.
    """
    condition, part, *_ = (*PurePosixPath(name).parts, "", "")
    return condition in conditions and part == split


def _chosen(conditions: Sequence[str], split: str) -> frozenset[str]:
    """Check the arguments that both datasets share."""
    unknown = sorted(set(conditions) - set(CONDITIONS))
    if unknown or not conditions:
        raise ValueError(f"conditions must be a list of {list(CONDITIONS)}, found {conditions!r}.")
    if split not in ("train", "val"):
        raise ValueError(f"split must be 'train' or 'val', found {split!r}.")
    return frozenset(conditions)


@DATASETS.register_module()
class ACDCDataset(LabelledImageDataset):
    """ACDC as downloaded (Sakaridis et al., "ACDC", ICCV 2021), with labels.

    `rgb_anon/<condition>/<split>/<sequence>/*_rgb_anon.png` belongs to
    `gt/<condition>/<split>/<sequence>/*_gt_labelIds.png`, in Cityscapes label ids.

    Args:
        conditions: Those to take, of `fog`, `night`, `rain`, `snow`.
        split: `train` or `val`.
        options: Arguments of `LabelledImageDataset`.

    Raises:
        ValueError: Unknown condition or split, or as `LabelledImageDataset`.
        FileNotFoundError: As `LabelledImageDataset`.
    """

    TABLE: ClassVar[LabelTable] = CITYSCAPES_TABLE
    IMG_SUFFIX: ClassVar[str] = "_rgb_anon.png"
    SEG_MAP_SUFFIX: ClassVar[str] = "_gt_labelIds.png"
    DATA_PREFIX: ClassVar[Mapping[str, str]] = {"img_path": "rgb_anon", "seg_map_path": "gt"}

    def __init__(
        self, *, conditions: Sequence[str] = CONDITIONS, split: str = "train", **options: Any
    ) -> None:
        self.conditions = _chosen(conditions, split)
        self.split = split
        super().__init__(**options)

    def label_name(self, name: str) -> str | None:
        """Name of the label of an image; None outside the conditions and the split.

        Args:
            name: Path of an image below its folder.

        Returns:
            The label's path below its folder.
        """
        return super().label_name(name) if is_of(name, self.conditions, self.split) else None

    def image_name(self, label: str) -> str | None:
        """Name of the image of a label: the inverse of `label_name`.

        Args:
            label: Path of a label below its folder.

        Returns:
            The image's path below its folder.
        """
        return super().image_name(label) if is_of(label, self.conditions, self.split) else None


@DATASETS.register_module()
class ACDCImagesDataset(UnlabelledDataset):
    """The images of ACDC as an unlabeled target, without the reference images of clear weather.

    Args:
        conditions: Those to take, of `fog`, `night`, `rain`, `snow`.
        split: `train` or `val`.
        options: Arguments of `UnlabelledDataset`.

    Raises:
        ValueError: Unknown condition or split, no image is left, or as `UnlabelledDataset`.
        FileNotFoundError: As `UnlabelledDataset`.
    """

    def __init__(
        self, *, conditions: Sequence[str] = CONDITIONS, split: str = "train", **options: Any
    ) -> None:
        self.conditions = _chosen(conditions, split)
        self.split = split
        super().__init__(**{"data_prefix": {"img_path": "rgb_anon"}, **options})

    def find_files(self) -> tuple[str, list[str]]:
        """Find the images of the conditions and the split.

        Returns:
            Folder of the images, and their paths relative to it.

        Raises:
            FileNotFoundError: As the class.
            ValueError: As the class.
        """
        img_dir, names = super().find_files()
        kept = [name for name in names if is_of(name, self.conditions, self.split)]
        if not kept:
            raise ValueError(
                f"none of the {len(names)} images in {img_dir} is of {sorted(self.conditions)}, {self.split}: expected "
                "<condition>/<split>/<sequence>/*_rgb_anon.png"
            )
        return img_dir, kept
