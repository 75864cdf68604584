"""Mapillary Vistas."""

from collections.abc import Mapping
from typing import ClassVar

from mmseg.datasets import MapillaryDataset_v1
from mmseg.registry import DATASETS

from mmdrsl.datasets.label_spaces import CITYSCAPES_RENAMES, LABEL_SPACES, LabelTable
from mmdrsl.datasets.labeled import LabelledImageDataset

_AS_CITYSCAPES = {
    "Road": "road",
    "Lane Marking - General": "road",
    "Manhole": "road",
    "Curb": "sidewalk",
    "Sidewalk": "sidewalk",
    "Building": "building",
    "Wall": "wall",
    "Fence": "fence",
    "Pole": "pole",
    "Utility Pole": "pole",
    "Traffic Light": "traffic light",
    "Traffic Sign (Front)": "traffic sign",
    "Vegetation": "vegetation",
    "Terrain": "terrain",
    "Sky": "sky",
    "Person": "person",
    "Bicyclist": "rider",
    "Motorcyclist": "rider",
    "Other Rider": "rider",
    "Car": "car",
    "Truck": "truck",
    "Bus": "bus",
    "On Rails": "train",
    "Motorcycle": "motorcycle",
    "Bicycle": "bicycle",
}
_NAMES = MapillaryDataset_v1.METAINFO["classes"]

MAPILLARY_TABLE = LabelTable(
    name="Mapillary Vistas 1.2",
    ids=dict(enumerate(_NAMES)),
    void=frozenset(set(_NAMES) - set(_AS_CITYSCAPES)),
)
"""Ids of Mapillary Vistas 1.2, from MMSegmentation's list."""


@DATASETS.register_module()
class MapillaryVistasDataset(LabelledImageDataset):
    """Mapillary Vistas 1.2 as downloaded (Neuhold et al., ICCV 2017), in the classes of Cityscapes.

    `<split>/images/*.jpg` belongs to `<split>/v1.2/labels/*.png`, or to `<split>/labels/*.png` of the older archive;
    the validation split is usual. The classes are matched as in the common tests of models on Vistas: road markings and
    manholes are road, curbs are sidewalk, and what Cityscapes has no class for is ignored. Arguments are those of
    `LabelledImageDataset`.
    """

    TABLE: ClassVar[LabelTable] = MAPILLARY_TABLE
    RENAMES: ClassVar[Mapping[str, Mapping[str, str | None]]] = {
        space: {
            raw: CITYSCAPES_RENAMES.get(space, {}).get(name, name)
            for raw, name in _AS_CITYSCAPES.items()
        }
        for space in LABEL_SPACES
    }
    IMG_SUFFIX: ClassVar[str] = ".jpg"
    DATA_PREFIX: ClassVar[Mapping[str, str]] = {
        "img_path": "validation/images",
        "seg_map_path": "validation/labels",
    }
