"""Names and ids of the scenes' classes and of the sub-types inside each class."""

from __future__ import annotations

import functools

import numpy as np

#: Cityscapes label ids, which GTA5 shares, of the classes that occur in the scenes.
#: Source: cityscapesscripts, ``helpers/labels.py``, https://github.com/mcordts/cityscapesScripts.
LABEL_IDS: dict[str, int] = {
    "unlabeled": 0,
    "road": 7,
    "sidewalk": 8,
    "building": 11,
    "wall": 12,
    "fence": 13,
    "pole": 17,
    "traffic light": 19,
    "traffic sign": 20,
    "vegetation": 21,
    "terrain": 22,
    "sky": 23,
    "person": 24,
    "rider": 25,
    "car": 26,
    "bus": 28,
    "bicycle": 33,
}

#: Display colors (red, green, blue) of the classes, the ones of Cityscapes.
LABEL_COLORS: dict[str, tuple[int, int, int]] = {
    "unlabeled": (0, 0, 0),
    "road": (128, 64, 128),
    "sidewalk": (244, 35, 232),
    "building": (70, 70, 70),
    "wall": (102, 102, 156),
    "fence": (190, 153, 153),
    "pole": (153, 153, 153),
    "traffic light": (250, 170, 30),
    "traffic sign": (220, 220, 0),
    "vegetation": (107, 142, 35),
    "terrain": (152, 251, 152),
    "sky": (70, 130, 180),
    "person": (220, 20, 60),
    "rider": (255, 0, 0),
    "car": (0, 0, 142),
    "bus": (0, 60, 100),
    "bicycle": (119, 11, 32),
}

#: Sub-types of each class: the modes that a class's appearance really has in this world.
CLASS_SUBTYPES: dict[str, tuple[str, ...]] = {
    "road": ("dry asphalt", "wet asphalt", "concrete"),
    "sidewalk": ("paved", "plain"),
    "building": ("brick", "glass", "plaster"),
    "wall": ("stone",),
    "fence": ("picket",),
    "pole": ("steel",),
    "traffic light": ("three lamps",),
    "traffic sign": ("plate",),
    "vegetation": ("summer", "autumn", "bare"),
    "terrain": ("grass", "soil"),
    "sky": ("blue", "overcast", "dusk"),
    "person": ("pedestrian",),
    "rider": ("cyclist",),
    "car": ("hatchback", "sedan", "van", "pick-up"),
    "bus": ("city bus",),
    "bicycle": ("city bicycle",),
}

#: ``(class name, sub-type name)`` of each sub-type; its id is its place here plus one.
SUBTYPES: tuple[tuple[str, str], ...] = tuple(
    (class_name, subtype) for class_name, subtypes in CLASS_SUBTYPES.items() for subtype in subtypes
)
_SUBTYPE_IDS = {pair: number for number, pair in enumerate(SUBTYPES, start=1)}


def subtype_id(class_name: str, subtype: str) -> int:
    """Id of a sub-type in the sub-type maps.

    Args:
        class_name: Class name, a key of :data:`CLASS_SUBTYPES`.
        subtype: Name of one of the class's sub-types.

    Returns:
        An id in ``1..len(SUBTYPES)``; 0 is kept for pixels without a sub-type.

    Raises:
        ValueError: If the class has no such sub-type.
    """
    if (class_name, subtype) not in _SUBTYPE_IDS:
        raise ValueError(
            f"no sub-type {subtype!r} of class {class_name!r}: "
            f"take one of CLASS_SUBTYPES[{class_name!r}] = {CLASS_SUBTYPES.get(class_name, ())}"
        )
    return _SUBTYPE_IDS[class_name, subtype]


@functools.cache
def label_of_subtype() -> np.ndarray:
    """Lookup from sub-type id to label id.

    Returns:
        Array (256,), uint8; ids that name no sub-type map to ``unlabeled``.
    """
    lookup = np.full(256, LABEL_IDS["unlabeled"], dtype=np.uint8)
    for number, (class_name, _) in enumerate(SUBTYPES, start=1):
        lookup[number] = LABEL_IDS[class_name]
    lookup.setflags(write=False)
    return lookup


def label_palette() -> np.ndarray:
    """Display color of every label id.

    Returns:
        Array (256, 3), uint8, red-green-blue; ids that name no class are black.
    """
    palette = np.zeros((256, 3), dtype=np.uint8)
    for class_name, label in LABEL_IDS.items():
        palette[label] = LABEL_COLORS[class_name]
    return palette
