"""Synscapes."""

from collections.abc import Mapping
from typing import ClassVar

from mmseg.registry import DATASETS

from mmdrsl.datasets.label_spaces import CITYSCAPES_TABLE, LabelTable
from mmdrsl.datasets.labeled import LabelledImageDataset


@DATASETS.register_module()
class SynscapesDataset(LabelledImageDataset):
    """Synscapes (Wrenninge and Unger, "Synscapes: A Photorealistic Synthetic Dataset", 2018), 25,000 images.

    `img/rgb/<number>.png` belongs to `img/class/<number>.png`, in Cityscapes label ids. Arguments are those of
    `LabelledImageDataset`.
    """

    TABLE: ClassVar[LabelTable] = CITYSCAPES_TABLE
    DATA_PREFIX: ClassVar[Mapping[str, str]] = {
        "img_path": "img/rgb",
        "seg_map_path": "img/class",
    }
