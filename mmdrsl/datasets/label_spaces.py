"""Label spaces (what a model predicts), label tables (what a file stores), and the way between.

Class ids are never written down: a table says which raw class name a raw id has, a label space says
which class names a model knows and in which order, and the two meet by name.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

IGNORE_INDEX = 255
"""Train id of pixels that neither losses nor metrics count."""

MAX_CLASSES = IGNORE_INDEX
"""Classes that labels of 8 bits can number beside the ignored pixels."""

UNKNOWN_ID = -1
"""Lookup value of raw ids that the label table does not list."""

Color = tuple[int, int, int]
"""Red, green, blue, each 0..255."""


@dataclass(frozen=True)
class LabelSpace:
    """The ordered classes a model predicts; a class's train id is its position.

    Args:
        name: Key of the space in `LABEL_SPACES`.
        classes: Class names, unique, in the order of the train ids.
        palette: One RGB color (0..255) per class, for drawing.

    Raises:
        ValueError: If there is no class or more than 255, names repeat, or the palette has another length.
    """

    name: str
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]

    def __post_init__(self) -> None:
        if not 0 < len(self.classes) <= MAX_CLASSES:
            raise ValueError(
                f"label space '{self.name}' has {len(self.classes)} classes, expected 1 to {MAX_CLASSES}, which labels "
                "of 8 bits can number beside the ignored pixels: merge or leave out classes"
            )
        if len(set(self.classes)) != len(self.classes):
            raise ValueError(f"label space '{self.name}' repeats a class: {self.classes}")
        if len(self.palette) != len(self.classes):
            raise ValueError(
                f"label space '{self.name}' has {len(self.classes)} classes but "
                f"{len(self.palette)} colors: give one color per class"
            )


@dataclass(frozen=True)
class LabelTable:
    """The raw ids or colors of one dataset's label files and their published class names.

    Args:
        name: Name of the dataset, for messages.
        ids: Raw id (0..65535) to raw class name; several ids may share a name.
        void: Raw names that are ignored wherever no rename and no class takes them.
        channel: How a file stores the ids, see `read_raw_ids`.
        colors: Color to raw class name, for files that show classes by their color; it takes the place of `ids` and
            `channel`. The ids are then the positions of the colors.

    Raises:
        ValueError: If an id or color is out of range, a void name is not a raw name, or both or neither of `ids` and
            `colors` are given.
    """

    name: str
    ids: Mapping[int, str] = field(default_factory=dict)
    void: frozenset[str] = frozenset()
    channel: str | None = None
    colors: Mapping[Color, str] = field(default_factory=dict)

    @property
    def storage(self) -> str | tuple[Color, ...] | None:
        """How a file stores the ids, as `read_raw_ids` takes it: the colors, `channel`, or 'mask' for ids 0 and 1."""
        # One bit holds these ids; of a longer table it would be a mask of something else.
        usual = "mask" if set(self.ids) <= {0, 1} else None
        return tuple(self.colors) or self.channel or usual

    @classmethod
    def load(cls, source: "str | Mapping[str, Any]") -> "LabelTable":
        """Make a table of plain values.

        Args:
            source: Mapping with `name`, `ids` (raw id to raw class name) or `colors` (color to raw class name; a
                color is a tuple, or a string such as "128,64,128"), and where needed `void` (list of names) and
                `channel`; or the path of a JSON file that holds such an object.

        Returns:
            The table.

        Raises:
            FileNotFoundError: If the file is missing.
            ValueError: If it is no such mapping.
        """
        if isinstance(source, str) and not Path(source).is_file():
            raise FileNotFoundError(f"no label table {source}: correct the dataset's table")
        try:
            content = (
                json.loads(Path(source).read_text(encoding="utf-8"))
                if isinstance(source, str)
                else source
            )
            colors = {_color(key): str(name) for key, name in content.get("colors", {}).items()}
            given = content.get("ids", {}) if colors else content["ids"]
            ids = {int(raw_id): str(name) for raw_id, name in given.items()}
            void = frozenset(content.get("void", ()))
            return cls(str(content["name"]), ids, void, content.get("channel"), colors)
        except (KeyError, AttributeError, TypeError, ValueError) as error:
            raise ValueError(
                f"{source} is no label table ({type(error).__name__}: {error}): expected a mapping like "
                '{"name": "mine", "ids": {"0": "void", "1": "road"}, "void": ["void"]}, or with "colors" such as '
                '{"128,64,128": "road"} in place of ids'
            ) from error

    def __post_init__(self) -> None:
        if self.colors:
            if self.ids or self.channel:
                raise ValueError(
                    f"label table '{self.name}' has colors and {'ids' if self.ids else 'channel'}: give one of them"
                )
            wrong = [color for color in self.colors if not all(0 <= part <= 255 for part in color)]
            if wrong:
                raise ValueError(f"label table '{self.name}': colors {wrong} are not in 0..255")
            object.__setattr__(self, "ids", dict(enumerate(self.colors.values())))
        if not self.ids:
            raise ValueError(f"label table '{self.name}' is empty: give ids or colors")
        out_of_range = [raw_id for raw_id in self.ids if not 0 <= raw_id <= 65535]
        if out_of_range:
            raise ValueError(f"label table '{self.name}': ids {out_of_range} are not in 0..65535")
        unlisted = sorted(self.void - set(self.ids.values()))
        if unlisted:
            raise ValueError(f"label table '{self.name}': void names {unlisted} have no id")


def _color(key: str | Iterable[int]) -> Color:
    """A color of a tuple, or of a string, as JSON has no other keys."""
    red, green, blue = (int(part) for part in (key.split(",") if isinstance(key, str) else key))
    return red, green, blue


_CITYSCAPES_PALETTE: dict[str, tuple[int, int, int]] = {
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
    "truck": (0, 0, 70),
    "bus": (0, 60, 100),
    "train": (0, 80, 100),
    "motorcycle": (0, 0, 230),
    "bicycle": (119, 11, 32),
}

_NOT_IN_SYNTHIA16 = ("terrain", "truck", "train")
_NOT_IN_SYNTHIA13 = (*_NOT_IN_SYNTHIA16, "wall", "fence", "pole")


def _cityscapes_without(name: str, *left_out: str) -> LabelSpace:
    """Make a label space of the Cityscapes classes other than `left_out`, in their order."""
    kept = {label: rgb for label, rgb in _CITYSCAPES_PALETTE.items() if label not in left_out}
    return LabelSpace(name=name, classes=tuple(kept), palette=tuple(kept.values()))


CITYSCAPES19 = _cityscapes_without("cityscapes19")
SYNTHIA16 = _cityscapes_without("synthia16", *_NOT_IN_SYNTHIA16)
SYNTHIA13 = _cityscapes_without("synthia13", *_NOT_IN_SYNTHIA13)

# CamVid's 11 classes without Bicyclist, which CARLA does not label apart.
_STREET10_CLASSES = (
    "sky",
    "building",
    "pole",
    "road",
    "sidewalk",
    "vegetation",
    "sign_or_light",
    "fence",
    "car",
    "person",
)
STREET10 = LabelSpace(
    name="street10",
    classes=_STREET10_CLASSES,
    palette=tuple(
        _CITYSCAPES_PALETTE["traffic sign" if label == "sign_or_light" else label]
        for label in _STREET10_CLASSES
    ),
)

# What rendered street blocks and Cityscapes share: thin and rare things keep classes of their own.
_STREET11_PALETTE = {
    "road": "road",
    "sidewalk": "sidewalk",
    "building": "building",
    "barrier": "fence",
    "pole": "pole",
    "sign_or_light": "traffic sign",
    "vegetation": "vegetation",
    "sky": "sky",
    "person": "person",
    "vehicle": "car",
    "two_wheeler": "bicycle",
}
STREET11 = LabelSpace(
    name="street11",
    classes=tuple(_STREET11_PALETTE),
    palette=tuple(_CITYSCAPES_PALETTE[like] for like in _STREET11_PALETTE.values()),
)

LABEL_SPACES: dict[str, LabelSpace] = {
    space.name: space for space in (CITYSCAPES19, SYNTHIA16, SYNTHIA13, STREET10, STREET11)
}
"""Label spaces that a dataset's `label_space` argument may name; add your own here."""

_CITYSCAPES_IDS = {
    0: "unlabeled",
    1: "ego vehicle",
    2: "rectification border",
    3: "out of roi",
    4: "static",
    5: "dynamic",
    6: "ground",
    7: "road",
    8: "sidewalk",
    9: "parking",
    10: "rail track",
    11: "building",
    12: "wall",
    13: "fence",
    14: "guard rail",
    15: "bridge",
    16: "tunnel",
    17: "pole",
    18: "polegroup",
    19: "traffic light",
    20: "traffic sign",
    21: "vegetation",
    22: "terrain",
    23: "sky",
    24: "person",
    25: "rider",
    26: "car",
    27: "truck",
    28: "bus",
    29: "caravan",
    30: "trailer",
    31: "train",
    32: "motorcycle",
    33: "bicycle",
}
_CITYSCAPES_VOID = frozenset({*_CITYSCAPES_IDS.values(), "license plate"} - {*CITYSCAPES19.classes})

CITYSCAPES_TABLE = LabelTable(
    name="Cityscapes label ids",
    # The license plate's id is -1, which an 8-bit file can only hold as 255.
    ids={**_CITYSCAPES_IDS, 255: "license plate"},
    void=_CITYSCAPES_VOID,
)
"""Ids of `*_gtFine_labelIds.png` and of KITTI (cityscapesScripts, `helpers/labels.py`)."""

CITYSCAPES_TRAIN_ID_TABLE = LabelTable(
    name="Cityscapes train ids",
    ids={**dict(enumerate(CITYSCAPES19.classes)), IGNORE_INDEX: "void"},
    void=frozenset({"void"}),
)
"""Ids of `*_labelTrainIds.png`: the 19 classes in order, 255 ignored."""

GTA5_TABLE = LabelTable(
    name="GTA5",
    ids={**_CITYSCAPES_IDS, 34: "license plate"},
    void=_CITYSCAPES_VOID,
)
"""Ids of GTA5 (Richter et al., "Playing for Data", ECCV 2016): Cityscapes' plus 34."""

SYNTHIA_TABLE = LabelTable(
    name="SYNTHIA-RAND-CITYSCAPES",
    ids={
        0: "void",
        1: "sky",
        2: "building",
        3: "road",
        4: "sidewalk",
        5: "fence",
        6: "vegetation",
        7: "pole",
        8: "car",
        9: "traffic sign",
        10: "pedestrian",
        11: "bicycle",
        12: "motorcycle",
        13: "parking slot",
        14: "road work",
        15: "traffic light",
        16: "terrain",
        17: "rider",
        18: "truck",
        19: "bus",
        20: "train",
        21: "wall",
        22: "lane marking",
    },
    void=frozenset({"void", "parking slot", "road work", "lane marking"}),
    channel="red",
)
"""Ids of SYNTHIA-RAND-CITYSCAPES (Ros et al., "The SYNTHIA Dataset", CVPR 2016)."""

SYNTHIA_SF_TABLE = LabelTable(
    name="SYNTHIA-SF",
    ids={
        0: "void",
        **dict(enumerate(CITYSCAPES19.classes, 1)),
        20: "road lines",
        21: "other",
        22: "road works",
    },
    void=frozenset({"void", "road lines", "other", "road works"}),
    channel="red8",
)
"""Ids of SYNTHIA-SF, NOT checked against its files: order of names as public loaders list them, storage assumed."""

CARLA_TABLE = LabelTable(
    name="CARLA 0.9.10 tags",
    ids={
        0: "Unlabeled",
        1: "Building",
        2: "Fence",
        3: "Other",
        4: "Pedestrian",
        5: "Pole",
        6: "RoadLine",
        7: "Road",
        8: "SideWalk",
        9: "Vegetation",
        10: "Vehicles",
        11: "Wall",
        12: "TrafficSign",
        13: "Sky",
        14: "Ground",
        15: "Bridge",
        16: "RailTrack",
        17: "GuardRail",
        18: "TrafficLight",
        19: "Static",
        20: "Dynamic",
        21: "Water",
        22: "Terrain",
    },
    void=frozenset({"Unlabeled", "Other", "Ground", "RailTrack", "Static", "Dynamic", "Water"}),
)
"""Tags of CARLA's semantic segmentation camera, simulator versions 0.9.10 to 0.9.13."""

STREETS_TABLE = LabelTable(
    name="path-traced street blocks",
    ids={**dict(enumerate(STREET11.classes)), IGNORE_INDEX: "unlabelled"},
    void=frozenset({"unlabelled"}),
)
"""Ids of the rendered street blocks: the classes of `street11` in order, 255 ignored."""

CAMVID_TABLE = LabelTable(
    name="CamVid, 11 classes",
    ids={
        0: "Sky",
        1: "Building",
        2: "Pole",
        3: "Road",
        4: "Pavement",
        5: "Tree",
        6: "SignSymbol",
        7: "Fence",
        8: "Car",
        9: "Pedestrian",
        10: "Bicyclist",
        11: "Unlabelled",
    },
    void=frozenset({"Unlabelled"}),
)
"""Ids of the 11-class CamVid that SegNet made common (Badrinarayanan et al., 2017)."""

CITYSCAPES_RENAMES: dict[str, dict[str, str | None]] = {
    SYNTHIA16.name: dict.fromkeys(_NOT_IN_SYNTHIA16),
    SYNTHIA13.name: dict.fromkeys(_NOT_IN_SYNTHIA13),
    # CamVid's conventions: walls are Building, trucks and buses are Car, bicyclists are left out.
    STREET10.name: {
        "wall": "building",
        "terrain": "vegetation",
        "traffic light": "sign_or_light",
        "traffic sign": "sign_or_light",
        "truck": "car",
        "bus": "car",
        "rider": None,
        "train": None,
        "motorcycle": None,
        "bicycle": None,
    },
    STREET11.name: {
        "wall": "barrier",
        "fence": "barrier",
        "traffic light": "sign_or_light",
        "traffic sign": "sign_or_light",
        "terrain": "vegetation",
        "rider": "person",
        "car": "vehicle",
        "truck": "vehicle",
        "bus": "vehicle",
        "train": "vehicle",
        "motorcycle": "two_wheeler",
        "bicycle": "two_wheeler",
    },
}
"""Renames, by label space, for tables that use the names of Cityscapes."""


def get_label_space(name: str | Mapping[str, Any] | Sequence[str]) -> LabelSpace:
    """Look a label space up by its name, or make one of plain values.

    Args:
        name: A key of `LABEL_SPACES`, or a mapping with `name`, `classes` and `palette`; a list of names is refused,
            since it has no colors.

    Returns:
        The label space.

    Raises:
        ValueError: If no label space has this name, or the mapping makes none, or has the name of a key and other
            classes.
    """
    if isinstance(name, Mapping):
        try:
            colors = tuple((int(r), int(g), int(b)) for r, g, b in name["palette"])
            space = LabelSpace(str(name["name"]), tuple(name["classes"]), colors)
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"the label_space {dict(name)} needs name, classes and a palette of one color per class ({error!r})"
            ) from error
        known = LABEL_SPACES.get(space.name)
        if known is not None and known.classes != space.classes:
            # By its name datasets choose the renames of their raw names.
            raise ValueError(
                f"the label_space named '{space.name}' has the classes {list(space.classes)}, and the built-in one of "
                f"this name {list(known.classes)}: give yours another name"
            )
        return space
    if not isinstance(name, str):
        raise ValueError(
            f"label_space is {name!r}, expected a name or a mapping such as dict(name='mine', classes=[...], "
            "palette=[...]) with one color per class"
        )
    if name not in LABEL_SPACES:
        raise ValueError(
            f"unknown label_space {name!r}: use one of {sorted(LABEL_SPACES)}, "
            "or a mapping with name, classes and palette"
        )
    return LABEL_SPACES[name]


def class_mapping(
    table: LabelTable, space: LabelSpace, renames: Mapping[str, str | None]
) -> dict[str, str | None]:
    """Map every raw class name of a table to a class of a label space, or to ignored.

    A rename decides first, then a class of the same name, then the table's void names.

    Args:
        table: The dataset's raw ids and names.
        space: The classes wanted.
        renames: Raw name to class name, or to None for ignored.

    Returns:
        Raw name to class name, None for ignored; one entry per raw name of the table.

    Raises:
        ValueError: If a rename starts from no raw name or leads to no class, or if a raw name is
            neither renamed, nor a class of the space, nor void.
    """
    raw_names = dict.fromkeys(table.ids.values())
    strangers = sorted(set(renames) - set(raw_names))
    if strangers:
        raise ValueError(
            f"renames from {strangers}, which {table.name} does not have; "
            f"its names are {list(raw_names)}"
        )
    lost = {raw: name for raw, name in renames.items() if name and name not in space.classes}
    if lost:
        raise ValueError(
            f"renames {lost} lead to no class of label space '{space.name}'; "
            f"its classes are {list(space.classes)}"
        )
    mapping: dict[str, str | None] = {}
    undecided = []
    for raw_name in raw_names:
        if raw_name in renames:
            mapping[raw_name] = renames[raw_name]
        elif raw_name in space.classes:
            mapping[raw_name] = raw_name
        elif raw_name in table.void:
            mapping[raw_name] = None
        else:
            undecided.append(raw_name)
    if undecided:
        raise ValueError(
            f"{table.name}: no class of label space '{space.name}' for {undecided}; rename each to "
            f"one of {list(space.classes)}, or to None to ignore it"
        )
    return mapping


def build_lookup(
    table: LabelTable, space: LabelSpace, renames: Mapping[str, str | None]
) -> npt.NDArray[np.int16]:
    """Build the array that turns raw ids into train ids.

    Args:
        table: The dataset's raw ids and names.
        space: The classes wanted.
        renames: Raw name to class name, or to None for ignored.

    Returns:
        Array of shape (257,), or longer where the table has greater ids: at each raw id its train
        id, 255 for ignored, -1 for unknown. The last entry is always -1, so clipping an id to the
        array marks everything beyond it as unknown.

    Raises:
        ValueError: As `class_mapping`.
    """
    mapping = class_mapping(table, space, renames)
    lookup = np.full(max(255, *table.ids) + 2, UNKNOWN_ID, dtype=np.int16)
    for raw_id, raw_name in table.ids.items():
        class_name = mapping[raw_name]
        lookup[raw_id] = IGNORE_INDEX if class_name is None else space.classes.index(class_name)
    return lookup
