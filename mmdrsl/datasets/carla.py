"""CARLA."""

from collections.abc import Mapping
from typing import ClassVar

from mmseg.registry import DATASETS

from mmdrsl.datasets.label_spaces import CARLA_TABLE, LabelTable
from mmdrsl.datasets.labeled import LabelledImageDataset


@DATASETS.register_module()
class CARLADataset(LabelledImageDataset):
    """Frames of the CARLA simulator, versions 0.9.10 to 0.9.13 (Dosovitskiy et al., CoRL 2017).

    `images/<name>.jpg` and `labels/<name>.png`, 8-bit with the semantic tag; `ann_file` names a
    split. Only the `street10` label space fits without `renames`: CARLA does not tell cars from
    trucks and two-wheelers. Arguments are those of `LabelledImageDataset`.
    """

    TABLE: ClassVar[LabelTable] = CARLA_TABLE
    RENAMES: ClassVar[Mapping[str, Mapping[str, str | None]]] = {
        "street10": {
            "Building": "building",
            "Fence": "fence",
            "Pedestrian": "person",
            "Pole": "pole",
            "RoadLine": "road",
            "Road": "road",
            "SideWalk": "sidewalk",
            "Vegetation": "vegetation",
            "Vehicles": "car",
            "Wall": "building",
            "TrafficSign": "sign_or_light",
            "Sky": "sky",
            "Bridge": "building",
            "GuardRail": "fence",
            "TrafficLight": "sign_or_light",
            "Terrain": "vegetation",
        }
    }
    LABEL_SPACE: ClassVar[str] = "street10"
    IMG_SUFFIX: ClassVar[str] = ".jpg"
