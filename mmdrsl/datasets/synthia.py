"""SYNTHIA."""

from collections.abc import Mapping
from typing import ClassVar

from mmseg.registry import DATASETS

from mmdrsl.datasets.label_spaces import (
    CITYSCAPES_RENAMES,
    CITYSCAPES_TRAIN_ID_TABLE,
    LABEL_SPACES,
    SYNTHIA_SF_TABLE,
    SYNTHIA_TABLE,
    LabelTable,
)
from mmdrsl.datasets.labeled import TRAIN_ID_SUFFIX, LabelledImageDataset


@DATASETS.register_module()
class SYNTHIADataset(LabelledImageDataset):
    """SYNTHIA-RAND-CITYSCAPES, "The SYNTHIA Dataset" (Ros et al., CVPR 2016).

    `RGB/` and `GT/LABELS/` hold PNG files of equal names. Labels are 16-bit color PNGs with the
    class id in the red channel. The usual label space is `synthia16`: terrain, truck and train
    never occur. Arguments are those of `LabelledImageDataset`.
    """

    TABLE: ClassVar[LabelTable] = SYNTHIA_TABLE
    RENAMES: ClassVar[Mapping[str, Mapping[str, str | None]]] = {
        name: {"pedestrian": "person", **CITYSCAPES_RENAMES.get(name, {})} for name in LABEL_SPACES
    }
    LABEL_SPACE: ClassVar[str] = "synthia16"
    DATA_PREFIX: ClassVar[Mapping[str, str]] = {"img_path": "RGB", "seg_map_path": "GT/LABELS"}


@DATASETS.register_module()
class SYNTHIATrainIdsDataset(SYNTHIADataset):
    """SYNTHIA-RAND-CITYSCAPES with the converted `GT/LABELS/*_labelTrainIds.png` of DAFormer.

    Arguments are those of `LabelledImageDataset`.
    """

    TABLE: ClassVar[LabelTable] = CITYSCAPES_TRAIN_ID_TABLE
    RENAMES: ClassVar[Mapping[str, Mapping[str, str | None]]] = CITYSCAPES_RENAMES
    SEG_MAP_SUFFIX: ClassVar[str] = TRAIN_ID_SUFFIX


@DATASETS.register_module()
class SYNTHIASFDataset(LabelledImageDataset):
    """SYNTHIA-SF, six sequences in San Francisco, 2,224 images (Hernandez-Juarez et al., BMVC 2017).

    `SEQ<n>/RGBLeft/<name>.png` belongs to `SEQ<n>/GTLeft/<name>.png`; right images are left out. The
    label table could NOT be checked against the files. Compare a few labels with
    `tools/analysis_tools/browse_dataset.py`, and where they are wrong give a `table` of your own.
    Arguments are those of `LabelledImageDataset`.
    """

    TABLE: ClassVar[LabelTable] = SYNTHIA_SF_TABLE
    DATA_PREFIX: ClassVar[Mapping[str, str]] = {"img_path": "", "seg_map_path": ""}
    FILE_PATTERNS: ClassVar[Mapping[str, str]] = {
        "img_path": "RGBLeft/*.png",
        "seg_map_path": "GTLeft/*.png",
    }
