"""One scene, from its random draw to image, labels and sub-types."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np

from mmdrsl.scenes.camera import FAR_LIMIT, Camera
from mmdrsl.scenes.canvas import Canvas
from mmdrsl.scenes.catalog import label_of_subtype
from mmdrsl.scenes.figures import draw_bicycle, draw_person, draw_post, draw_tree
from mmdrsl.scenes.looks import camera_look, game_look
from mmdrsl.scenes.materials import MATERIALS
from mmdrsl.scenes.structures import draw_barrier, draw_building
from mmdrsl.scenes.surroundings import add_reflections, draw_ground, draw_sky, draw_skyline
from mmdrsl.scenes.vehicles import draw_vehicle
from mmdrsl.scenes.world import LOOKS, Look, World, draw_world

#: Canvas pixels per image pixel along a side; images are averaged from them.
_SUPERSAMPLING = 2
_LEAST_SIZE = 32


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A rendered scene.

    Attributes:
        image: Array (height, width, 3), uint8, red-green-blue.
        label: Array (height, width), uint8, Cityscapes label ids.
        subtype: Array (height, width), uint8, sub-type ids, see
            :data:`mmdrsl.scenes.catalog.SUBTYPES`.
    """

    image: np.ndarray
    label: np.ndarray
    subtype: np.ndarray


def render_scene(
    rng_or_seed: np.random.Generator | int | Sequence[int],
    look: Look,
    image_size: tuple[int, int] = (256, 128),
) -> Scene:
    """Draw and render one street scene.

    Args:
        rng_or_seed: Seed (a number or numbers), or a generator, which is advanced.
        look: ``game`` (a renderer's picture) or ``camera`` (a car camera's picture).
        image_size: Width and height in pixels.

    Returns:
        The scene; the same seed, look and size give the same bytes.

    Raises:
        ValueError: If the look is unknown or the image is smaller than 32 pixels.
    """
    if look not in LOOKS:
        raise ValueError(f"unknown look {look!r}: take one of {LOOKS}")
    if min(image_size) < _LEAST_SIZE:
        raise ValueError(f"image_size {image_size} is too small: use {_LEAST_SIZE} or more")
    rng = np.random.default_rng(rng_or_seed)
    world = draw_world(rng, look)
    canvas = _draw(world, look, image_size)
    color = cv2.resize(canvas.color, image_size, interpolation=cv2.INTER_AREA)
    distance = cv2.resize(canvas.distance, image_size, interpolation=cv2.INTER_AREA)
    develop = game_look if look == "game" else camera_look
    subtype = np.ascontiguousarray(canvas.subtype[::_SUPERSAMPLING, ::_SUPERSAMPLING])
    return Scene(
        image=develop(color, distance, world.weather, rng),
        label=label_of_subtype()[subtype],
        subtype=subtype,
    )


def _draw(world: World, look: Look, image_size: tuple[int, int]) -> Canvas:
    """Paint the world on a supersampled canvas, from far to near."""
    width, height = (side * _SUPERSAMPLING for side in image_size)
    view = world.viewpoint
    camera = Camera(
        width=width,
        height=height,
        focal=view.focal * width,
        center_column=view.center_column * width,
        horizon_row=view.horizon_row * height,
        mounting_height=view.mounting_height,
        lateral=view.lateral,
        curvature=world.street.curvature,
    )
    materials = MATERIALS[look]
    canvas = Canvas(width=width, height=height)
    draw_sky(canvas, camera, world, materials)
    draw_skyline(canvas, camera, world, materials)
    draw_ground(canvas, camera, world, materials)
    place = (canvas, camera)
    pieces: list[tuple[float, Callable[[], None]]] = []
    for house in world.buildings:
        # A house is painted before whatever stands in front of any part of it.
        paint = partial(draw_building, *place, house, materials, world.weather)
        pieces.append((min(house.far, FAR_LIMIT), paint))
    pieces += [
        (item.far, partial(draw_barrier, *place, item, materials)) for item in world.barriers
    ]
    pieces += [(item.z, partial(draw_tree, *place, item, materials)) for item in world.trees]
    pieces += [(item.z, partial(draw_vehicle, *place, item, materials)) for item in world.vehicles]
    pieces += [(item.z, partial(draw_person, *place, item, materials)) for item in world.persons]
    pieces += [(item.z, partial(draw_bicycle, *place, item, materials)) for item in world.bicycles]
    pieces += [(item.z, partial(draw_post, *place, item, materials)) for item in world.posts]
    for _, draw in sorted(pieces, key=lambda piece: -piece[0]):
        draw()
    add_reflections(canvas, camera, world)
    return canvas
