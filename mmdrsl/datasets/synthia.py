"""SYNTHIA."""

from collections.abc import Mapping
from typing import ClassVar

from mmseg.registry import DATASETS

from mmdrsl.datasets.label_spaces import CITYSCAPES_RENAMES, LABEL_SPACES, SYNTHIA_TABLE, LabelTable
from mmdrsl.datasets.labelled import LabelledImageDataset


@DATASETS.register_module()
class SYNTHIADataset(LabelledImageDataset):
    """SYNTHIA-RAND-CITYSCAPES, "The SYNTHIA Dataset" (Ros et al., CVPR 2016).

    `RGB/` and `GT/LABELS/` hold PNG files of equal names. Labels are 16-bit colour PNGs with the
    class id in the red channel. The usual label space is `synthia16`: terrain, truck and train
    never occur. Arguments are those of `LabelledImageDataset`.
    """

    TABLE: ClassVar[LabelTable] = SYNTHIA_TABLE
    RENAMES: ClassVar[Mapping[str, Mapping[str, str | None]]] = {
        name: {"pedestrian": "person", **CITYSCAPES_RENAMES.get(name, {})} for name in LABEL_SPACES
    }
    LABEL_CHANNEL: ClassVar[str | None] = "red"
    LABEL_SPACE: ClassVar[str] = "synthia16"
    DATA_PREFIX: ClassVar[Mapping[str, str]] = {"img_path": "RGB", "seg_map_path": "GT/LABELS"}
