"""KITTI."""

from collections.abc import Mapping
from typing import ClassVar

from mmseg.registry import DATASETS

from mmdrsl.datasets.label_spaces import CITYSCAPES_TABLE, LabelTable
from mmdrsl.datasets.labelled import LabelledImageDataset


@DATASETS.register_module()
class KITTIDataset(LabelledImageDataset):
    """KITTI semantics, the pixel-labelled images of KITTI 2015 (Alhaija et al., IJCV 2018).

    `training/image_2/` and `training/semantic/` hold PNG files of equal names; labels are 8-bit
    in Cityscapes label ids. Image sizes differ by a few pixels. Arguments are those of
    `LabelledImageDataset`.
    """

    TABLE: ClassVar[LabelTable] = CITYSCAPES_TABLE
    DATA_PREFIX: ClassVar[Mapping[str, str]] = {
        "img_path": "training/image_2",
        "seg_map_path": "training/semantic",
    }
