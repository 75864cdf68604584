"""GTA5."""

from typing import ClassVar

from mmseg.registry import DATASETS

from mmdrsl.datasets.label_spaces import CITYSCAPES_TRAIN_ID_TABLE, GTA5_TABLE, LabelTable
from mmdrsl.datasets.labeled import TRAIN_ID_SUFFIX, LabelledImageDataset


@DATASETS.register_module()
class GTA5Dataset(LabelledImageDataset):
    """GTA5, "Playing for Data: Ground Truth from Computer Games" (Richter et al., ECCV 2016).

    `images/` and `labels/` hold PNG files of equal names, flat or in sub-folders. Labels are
    palette PNGs whose index is the id. Arguments are those of `LabelledImageDataset`.
    """

    TABLE: ClassVar[LabelTable] = GTA5_TABLE


@DATASETS.register_module()
class GTA5TrainIdsDataset(GTA5Dataset):
    """GTA5 with the converted `labels/*_labelTrainIds.png` of DAFormer.

    Arguments are those of `LabelledImageDataset`.
    """

    TABLE: ClassVar[LabelTable] = CITYSCAPES_TRAIN_ID_TABLE
    SEG_MAP_SUFFIX: ClassVar[str] = TRAIN_ID_SUFFIX
