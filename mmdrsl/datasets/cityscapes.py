"""Cityscapes."""

from collections.abc import Mapping
from typing import ClassVar

from mmseg.registry import DATASETS

from mmdrsl.datasets.label_spaces import CITYSCAPES_TABLE, CITYSCAPES_TRAIN_ID_TABLE, LabelTable
from mmdrsl.datasets.labeled import LabelledImageDataset


@DATASETS.register_module()
class CityscapesLabelIdsDataset(LabelledImageDataset):
    """Cityscapes as downloaded, without conversion (Cordts et al., CVPR 2016).

    Images are `leftImg8bit/<split>/<city>/*_leftImg8bit.png`, labels
    `gtFine/<split>/<city>/*_gtFine_labelIds.png`; the train split is usual, `data_prefix` names
    another one, or flat folders with the same file names. Arguments are those of
    `LabelledImageDataset`.
    """

    TABLE: ClassVar[LabelTable] = CITYSCAPES_TABLE
    IMG_SUFFIX: ClassVar[str] = "_leftImg8bit.png"
    SEG_MAP_SUFFIX: ClassVar[str] = "_gtFine_labelIds.png"
    DATA_PREFIX: ClassVar[Mapping[str, str]] = {
        "img_path": "leftImg8bit/train",
        "seg_map_path": "gtFine/train",
    }


@DATASETS.register_module()
class CityscapesTrainIdsDataset(CityscapesLabelIdsDataset):
    """Cityscapes with the converted `*_gtFine_labelTrainIds.png`.

    Arguments are those of `LabelledImageDataset`.
    """

    TABLE: ClassVar[LabelTable] = CITYSCAPES_TRAIN_ID_TABLE
    SEG_MAP_SUFFIX: ClassVar[str] = "_gtFine_labelTrainIds.png"
