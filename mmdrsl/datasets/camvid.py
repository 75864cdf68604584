"""CamVid."""

from collections.abc import Mapping
from typing import ClassVar

from mmseg.registry import DATASETS

from mmdrsl.datasets.label_spaces import CAMVID_TABLE, LabelTable
from mmdrsl.datasets.labeled import LabelledImageDataset


@DATASETS.register_module()
class CamVidDataset(LabelledImageDataset):
    """CamVid in its 11-class version (Brostow et al., 2009; Badrinarayanan et al., 2017).

    `images/<name>.jpg` and `labels/<name>.png`, 8-bit; `ann_file` names a split. In `street10`,
    the label space shared with CARLA, bicyclists are ignored. Arguments are those of
    `LabelledImageDataset`.
    """

    TABLE: ClassVar[LabelTable] = CAMVID_TABLE
    RENAMES: ClassVar[Mapping[str, Mapping[str, str | None]]] = {
        "street10": {
            "Sky": "sky",
            "Building": "building",
            "Pole": "pole",
            "Road": "road",
            "Pavement": "sidewalk",
            "Tree": "vegetation",
            "SignSymbol": "sign_or_light",
            "Fence": "fence",
            "Car": "car",
            "Pedestrian": "person",
            "Bicyclist": None,
        }
    }
    LABEL_SPACE: ClassVar[str] = "street10"
    IMG_SUFFIX: ClassVar[str] = ".jpg"
