"""What a scene contains: random draws of a street world, without any rendering."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

Look = Literal["game", "camera"]
LOOKS: tuple[Look, ...] = ("game", "camera")
_Choice = TypeVar("_Choice", bound=str)


@dataclass(frozen=True, kw_only=True)
class SceneStatistics:
    """How often things occur in the scenes of one look.

    Attributes:
        roads: Weights of the road's sub-types.
        sidewalks: Weights of the sidewalk's sub-types.
        terrains: Weights of the terrain's sub-types.
        skies: Weights of the sky's sub-types.
        seasons: Weights of the vegetation's sub-types.
        materials: Weights of the building's sub-types.
        cars: Weights of the car's sub-types.
        traffic: Mean number of moving cars.
        parking: Probability that a parking place is taken.
        persons: Mean number of pedestrians.
        trees: Probability of a tree at each planting place.
        storeys: Least and greatest number of storeys.
        mounting_height: Least and greatest camera height in meters.
        focal: Least and greatest focal length as a share of the image width.
    """

    roads: dict[str, float]
    sidewalks: dict[str, float]
    terrains: dict[str, float]
    skies: dict[str, float]
    seasons: dict[str, float]
    materials: dict[str, float]
    cars: dict[str, float]
    traffic: float
    parking: float
    persons: float
    trees: float
    storeys: tuple[int, int]
    mounting_height: tuple[float, float]
    focal: tuple[float, float]


STATISTICS: dict[str, SceneStatistics] = {
    "game": SceneStatistics(
        roads={"dry asphalt": 0.55, "wet asphalt": 0.15, "concrete": 0.3},
        sidewalks={"paved": 0.4, "plain": 0.6},
        terrains={"grass": 0.7, "soil": 0.3},
        skies={"blue": 0.6, "overcast": 0.2, "dusk": 0.2},
        seasons={"summer": 0.65, "autumn": 0.2, "bare": 0.15},
        materials={"brick": 0.3, "glass": 0.35, "plaster": 0.35},
        cars={"hatchback": 0.2, "sedan": 0.4, "van": 0.15, "pick-up": 0.25},
        traffic=3.0,
        parking=0.3,
        persons=2.5,
        trees=0.45,
        storeys=(2, 7),
        mounting_height=(1.4, 2.2),
        focal=(0.78, 0.9),
    ),
    "camera": SceneStatistics(
        roads={"dry asphalt": 0.5, "wet asphalt": 0.3, "concrete": 0.2},
        sidewalks={"paved": 0.65, "plain": 0.35},
        terrains={"grass": 0.6, "soil": 0.4},
        skies={"blue": 0.35, "overcast": 0.45, "dusk": 0.2},
        seasons={"summer": 0.45, "autumn": 0.35, "bare": 0.2},
        materials={"brick": 0.35, "glass": 0.2, "plaster": 0.45},
        cars={"hatchback": 0.4, "sedan": 0.25, "van": 0.25, "pick-up": 0.1},
        traffic=3.5,
        parking=0.5,
        persons=3.5,
        trees=0.5,
        storeys=(2, 5),
        mounting_height=(1.2, 1.6),
        focal=(0.88, 1.0),
    ),
}


@dataclass(frozen=True, kw_only=True)
class Viewpoint:
    """Where the camera sits: shares of the image size, and meters for the position."""

    focal: float
    center_column: float
    horizon_row: float
    mounting_height: float
    lateral: float


@dataclass(frozen=True, kw_only=True)
class Street:
    """Cross-section and course of the street; lengths in meters, pairs are (left, right)."""

    road: str
    sidewalk: str
    terrain: str
    half_width: float
    sidewalk_width: tuple[float, float]
    verge_width: tuple[float, float]
    verge_at_kerb: tuple[bool, bool]
    curvature: float
    crossing: tuple[float, float] | None
    marking_phase: float

    def edge(self, side: int) -> float:
        """Distance from the center line to the building line on side -1 (left) or 1 (right)."""
        place = (side + 1) // 2
        return self.half_width + self.sidewalk_width[place] + self.verge_width[place]

    def in_crossing(self, near: float, far: float) -> bool:
        """Whether a stretch of the street overlaps the side street."""
        return self.crossing is not None and near < self.crossing[1] and far > self.crossing[0]


@dataclass(frozen=True, kw_only=True)
class Weather:
    """Sky, and the ground shadow's reach in meters per meter of height (zero strength: none)."""

    sky: str
    cloud_cover: float
    shadow_strength: float
    shadow_reach: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Building:
    """A house beside the street; ``offset`` is its facade's signed place across the street."""

    material: str
    side: int
    offset: float
    near: float
    far: float
    storeys: int
    depth: float
    pitched: bool
    tone: float
    seed: int

    @property
    def height(self) -> float:
        """Height of the eaves in meters."""
        return 1.0 + 3.2 * self.storeys


@dataclass(frozen=True, kw_only=True)
class Barrier:
    """A fence or a wall along the street."""

    class_name: str
    offset: float
    near: float
    far: float
    height: float
    tone: float
    seed: int


@dataclass(frozen=True, kw_only=True)
class Tree:
    """A tree, or a bush when it has no trunk."""

    season: str
    x: float
    z: float
    height: float
    trunk: float
    tone: float
    seed: int


@dataclass(frozen=True, kw_only=True)
class Vehicle:
    """A car or a bus; ``heading`` is in degrees, 0 along the street and 90 to the right."""

    class_name: str
    kind: str
    x: float
    z: float
    heading: float
    tone: float
    finish: float


@dataclass(frozen=True, kw_only=True)
class Person:
    """A pedestrian; ``stride`` in -1..1 opens the legs, tones choose clothes and skin."""

    x: float
    z: float
    height: float
    stride: float
    coat: float
    trousers: float
    skin: float


@dataclass(frozen=True, kw_only=True)
class Bicycle:
    """A bicycle seen from behind or from the side, with or without its rider."""

    x: float
    z: float
    sideways: bool
    ridden: bool
    tone: float
    coat: float
    skin: float


@dataclass(frozen=True, kw_only=True)
class Post:
    """A pole: a street lamp, or the carrier of a traffic sign or a traffic light."""

    kind: Literal["lamp", "sign", "light"]
    x: float
    z: float
    height: float
    tone: float


@dataclass(frozen=True, kw_only=True)
class World:
    """Everything in one scene."""

    viewpoint: Viewpoint
    street: Street
    weather: Weather
    skyline: str
    skyline_height: float
    buildings: list[Building]
    barriers: list[Barrier]
    trees: list[Tree]
    vehicles: list[Vehicle]
    persons: list[Person]
    bicycles: list[Bicycle]
    posts: list[Post]
    seed: int


def draw_world(rng: np.random.Generator, look: Look) -> World:
    """Draw one street world.

    Args:
        rng: Source of randomness; advanced.
        look: Whose scene statistics to draw from.

    Returns:
        The world; the same generator state gives the same world.
    """
    statistics = STATISTICS[look]
    street = _draw_street(rng, statistics)
    season = _pick(rng, statistics.seasons)
    buildings, gaps = _draw_buildings(rng, statistics, street)
    return World(
        viewpoint=Viewpoint(
            focal=rng.uniform(*statistics.focal),
            center_column=rng.uniform(0.42, 0.58),
            horizon_row=rng.uniform(0.4, 0.5),
            mounting_height=rng.uniform(*statistics.mounting_height),
            lateral=street.half_width * rng.uniform(0.15, 0.55),
        ),
        street=street,
        weather=_draw_weather(rng, statistics),
        skyline=season,
        skyline_height=rng.uniform(3.0, 9.0),
        buildings=buildings,
        barriers=_draw_barriers(rng, street, gaps),
        trees=_draw_trees(rng, statistics, street, season, gaps),
        vehicles=_draw_vehicles(rng, statistics, street),
        persons=_draw_persons(rng, statistics, street),
        bicycles=_draw_bicycles(rng, street),
        posts=_draw_posts(rng, street),
        seed=int(rng.integers(2**31)),
    )


def _pick(rng: np.random.Generator, weights: dict[str, float]) -> str:
    return str(rng.choice(list(weights), p=list(weights.values())))


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))


def _draw_street(rng: np.random.Generator, statistics: SceneStatistics) -> Street:
    crossing = None
    if rng.random() < 0.45:
        start = rng.uniform(14, 40)
        crossing = (start, start + rng.uniform(6.5, 9))
    return Street(
        road=_pick(rng, statistics.roads),
        sidewalk=_pick(rng, statistics.sidewalks),
        terrain=_pick(rng, statistics.terrains),
        half_width=rng.uniform(3.6, 5.6),
        sidewalk_width=(rng.uniform(1.6, 3.2), rng.uniform(1.6, 3.2)),
        verge_width=(max(0.0, rng.uniform(-1.5, 3.5)), max(0.0, rng.uniform(-1.5, 3.5))),
        verge_at_kerb=(bool(rng.random() < 0.35), bool(rng.random() < 0.35)),
        curvature=float(np.clip(rng.normal(0, 0.0014), -0.003, 0.003)),
        crossing=crossing,
        marking_phase=rng.uniform(0, 9),
    )


def _draw_weather(rng: np.random.Generator, statistics: SceneStatistics) -> Weather:
    sky = _pick(rng, statistics.skies)
    sunny = sky == "blue" and rng.random() < 0.8
    reach = 0.5 if sky == "blue" else 1.4
    return Weather(
        sky=sky,
        cloud_cover=rng.uniform(0.05, 0.5),
        shadow_strength=rng.uniform(0.3, 0.5) if sunny else rng.uniform(0.0, 0.15),
        shadow_reach=(rng.choice([-1.0, 1.0]) * rng.uniform(0.2, 1.0) * reach, rng.normal(0, 0.5)),
    )


def _draw_buildings(
    rng: np.random.Generator, statistics: SceneStatistics, street: Street
) -> tuple[list[Building], list[tuple[int, float, float]]]:
    """Rows of houses on both sides, and the ``(side, near, far)`` of the gaps between them."""
    buildings: list[Building] = []
    gaps: list[tuple[int, float, float]] = []
    for side in (-1, 1):
        base_storeys = rng.integers(statistics.storeys[0], statistics.storeys[1] + 1)
        z = rng.uniform(-2.0, 6.0)
        while z < 90:
            length = rng.uniform(8, 16)
            if street.in_crossing(z, z + length):
                # The row ends at the side street and starts again behind it.
                z = max(z + 1.0, street.crossing[1] + 1.5) if street.crossing else z
                continue
            if rng.random() < 0.22:
                gaps.append((side, z, z + length))
                z += length
                continue
            material = _pick(rng, statistics.materials)
            storeys = int(np.clip(base_storeys + rng.integers(-1, 2), 1, 9))
            if material == "glass":
                storeys += int(rng.integers(1, 4))
            buildings.append(
                Building(
                    material=material,
                    side=side,
                    offset=side * (street.edge(side) + max(0.0, rng.uniform(-1.5, 1.5))),
                    near=z,
                    far=z + length,
                    storeys=storeys,
                    depth=rng.uniform(8, 12),
                    pitched=material != "glass" and storeys <= 3 and bool(rng.random() < 0.75),
                    tone=rng.random(),
                    seed=_seed(rng),
                )
            )
            z += length + (rng.uniform(0.5, 3.0) if rng.random() < 0.3 else 0.0)
    return buildings, gaps


def _draw_barriers(
    rng: np.random.Generator, street: Street, gaps: list[tuple[int, float, float]]
) -> list[Barrier]:
    return [
        Barrier(
            class_name="fence" if rng.random() < 0.6 else "wall",
            offset=side * (street.edge(side) - 0.1),
            near=near,
            far=far,
            height=rng.uniform(1.0, 2.0),
            tone=rng.random(),
            seed=_seed(rng),
        )
        for side, near, far in gaps
        if near > 2 and rng.random() < 0.75
    ]


def _draw_trees(
    rng: np.random.Generator,
    statistics: SceneStatistics,
    street: Street,
    season: str,
    gaps: list[tuple[int, float, float]],
) -> list[Tree]:
    def tree(x: float, z: float, height: float, trunk: float) -> Tree:
        own_season = season if rng.random() < 0.8 else _pick(rng, statistics.seasons)
        return Tree(
            season=own_season,
            x=x,
            z=z,
            height=height,
            trunk=trunk,
            tone=rng.random(),
            seed=_seed(rng),
        )

    trees = []
    for side in (-1, 1):
        place = (side + 1) // 2
        at_kerb = street.verge_at_kerb[place] or street.verge_width[place] < 1
        x = street.half_width + 0.9 if at_kerb else street.edge(side) - 0.9
        spacing = rng.uniform(9, 16)
        avenue = rng.random() < statistics.trees * 1.4
        for z in np.arange(rng.uniform(7, 14), 85, spacing):
            if avenue and rng.random() < 0.75 and not street.in_crossing(z - 2, z + 2):
                height = rng.uniform(4.5, 8.0)
                trees.append(tree(side * (x + rng.normal(0, 0.2)), z, height, height * 0.35))
    for side, near, far in gaps:
        for z in np.arange(near + 1, far, 3.5):
            if rng.random() < 0.8:
                height = rng.uniform(4.0, 10.0)
                x = side * (street.edge(side) + rng.uniform(2, 7))
                trees.append(tree(x, z, height, height * rng.uniform(0.1, 0.3)))
    for side in (-1, 1):
        if street.verge_width[(side + 1) // 2] > 1.2:
            for z in rng.uniform(8, 60, rng.integers(0, 5)):
                if not street.in_crossing(z - 1, z + 1):
                    x = side * (street.edge(side) - 0.5)
                    trees.append(tree(x, z, rng.uniform(0.7, 1.6), 0.0))
    return trees


def _draw_vehicles(
    rng: np.random.Generator, statistics: SceneStatistics, street: Street
) -> list[Vehicle]:
    def vehicle(x: float, z: float, heading: float, bus: bool = False) -> Vehicle:
        return Vehicle(
            class_name="bus" if bus else "car",
            kind="city bus" if bus else _pick(rng, statistics.cars),
            x=x,
            z=z,
            heading=heading + rng.normal(0, 1.5),
            tone=rng.random(),
            finish=rng.uniform(0.85, 1.1),
        )

    vehicles = []
    lane = street.half_width * 0.48
    with_parking = street.half_width > 4.6
    if with_parking:
        lane = (street.half_width - 2.1) * 0.5
    for side, heading in ((1, 0.0), (-1, 180.0)):
        z = rng.uniform(9, 26)
        for _ in range(rng.poisson(statistics.traffic / 2)):
            bus = bool(rng.random() < 0.05)
            vehicles.append(vehicle(side * lane + rng.normal(0, 0.15), z, heading, bus))
            z += rng.uniform(8, 22) + 7 * bus
        if with_parking:
            for place in np.arange(rng.uniform(6, 10), 70, 6.2):
                free = rng.random() > statistics.parking
                if free or street.in_crossing(place - 4, place + 4):
                    continue
                turned = heading + (180 if rng.random() < 0.1 else 0)
                vehicles.append(vehicle(side * (street.half_width - 1.1), place, turned))
    if street.crossing and rng.random() < 0.6:
        near, far = street.crossing
        right = rng.random() < 0.5
        z = near * 0.7 + far * 0.3 if right else near * 0.3 + far * 0.7
        vehicles.append(
            vehicle(rng.uniform(-9, 9), z, 90.0 if right else -90.0, bool(rng.random() < 0.1))
        )
    return vehicles


def _draw_persons(
    rng: np.random.Generator, statistics: SceneStatistics, street: Street
) -> list[Person]:
    def person(x: float, z: float) -> Person:
        return Person(
            x=x,
            z=z,
            height=float(np.clip(rng.normal(1.7, 0.13), 1.2, 1.95)),
            stride=rng.uniform(-1, 1),
            coat=rng.random(),
            trousers=rng.random(),
            skin=rng.random(),
        )

    persons = []
    for _ in range(rng.poisson(statistics.persons)):
        side = int(rng.choice([-1, 1]))
        width = street.sidewalk_width[(side + 1) // 2]
        verge = street.verge_width[(side + 1) // 2]
        start = street.half_width + (verge if street.verge_at_kerb[(side + 1) // 2] else 0.0)
        z = 7 + 40 * rng.random() ** 1.3
        persons.append(person(side * (start + width * rng.uniform(0.25, 0.8)), z))
        if rng.random() < 0.25:
            persons.append(person(persons[-1].x + 0.6, z + 0.3))
    if street.crossing and rng.random() < 0.35:
        persons.append(
            person(
                rng.uniform(-1, 1) * street.half_width, street.crossing[0] - rng.uniform(1.5, 3.5)
            )
        )
    return persons


def _draw_bicycles(rng: np.random.Generator, street: Street) -> list[Bicycle]:
    def bicycle(x: float, z: float, sideways: bool, ridden: bool) -> Bicycle:
        return Bicycle(
            x=x,
            z=z,
            sideways=sideways,
            ridden=ridden,
            tone=rng.random(),
            coat=rng.random(),
            skin=rng.random(),
        )

    bicycles = []
    if rng.random() < 0.4:
        side = rng.choice([-1, 1])
        x = side * (street.half_width - 0.7 - (2.2 if street.half_width > 4.6 else 0.0))
        bicycles.append(bicycle(x, rng.uniform(7, 24), False, True))
    if street.crossing and rng.random() < 0.3:
        bicycles.append(
            bicycle(rng.uniform(-6, 6), street.crossing[0] + rng.uniform(0, 1), True, True)
        )
    if rng.random() < 0.25:
        side = int(rng.choice([-1, 1]))
        x = side * (street.edge(side) - 0.6)
        bicycles.append(bicycle(x, rng.uniform(8, 22), True, False))
    return bicycles


def _draw_posts(rng: np.random.Generator, street: Street) -> list[Post]:
    def post(kind: Literal["lamp", "sign", "light"], side: int, z: float, height: float) -> Post:
        return Post(
            kind=kind, x=side * (street.half_width + 0.4), z=z, height=height, tone=rng.random()
        )

    posts = []
    lamp_side = int(rng.choice([-1, 1]))
    for z in np.arange(rng.uniform(8, 20), 80, rng.uniform(18, 26)):
        if not street.in_crossing(z - 1, z + 1):
            posts.append(post("lamp", lamp_side, z, rng.uniform(6, 8)))
    for _ in range(rng.poisson(1.0)):
        z = rng.uniform(8, 34)
        if not street.in_crossing(z - 1, z + 1):
            posts.append(post("sign", 1 if rng.random() < 0.7 else -1, z, rng.uniform(2.3, 3.0)))
    if street.crossing and rng.random() < 0.65:
        z = street.crossing[0] - 0.6
        posts.append(post("light", 1, z, rng.uniform(3.2, 3.8)))
        if rng.random() < 0.7:
            posts.append(post("light", -1, z, rng.uniform(3.2, 3.8)))
    return posts
