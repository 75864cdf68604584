"""Houses and the fences and walls between them."""

from __future__ import annotations

import numpy as np

from mmdrsl.scenes.camera import FAR_LIMIT, Camera
from mmdrsl.scenes.canvas import Canvas
from mmdrsl.scenes.catalog import CLASS_SUBTYPES, subtype_id
from mmdrsl.scenes.materials import Materials, barrier, choose, facade, shaded
from mmdrsl.scenes.world import Barrier, Building, Weather

_ROOF_SLOPE = 1.1
#: Meters; walls that start nearer than this are cut off, they lie outside the view there.
_NEAREST_WALL = 2.0


def draw_building(
    canvas: Canvas, camera: Camera, building: Building, materials: Materials, weather: Weather
) -> None:
    """Draw a house: street front, near gable wall, and a roof where it can be seen."""
    near, far = max(building.near, _NEAREST_WALL), min(building.far, FAR_LIMIT)
    if far - near < 1:
        return
    rng = np.random.default_rng(building.seed)
    subtype = subtype_id("building", building.material)
    front, back = building.offset, building.offset + building.side * building.depth
    sunlit = weather.shadow_reach[0] * building.side > 0
    front_light = 0.86 if sunlit and weather.shadow_strength > 0.2 else 1.0
    ridge = (front + back) / 2
    ridge_height = building.height + _ROOF_SLOPE * building.depth / 2
    roof = shaded(choose(materials.roofs, building.tone), 0.95)

    gable = _upright(camera, (front, near), (back, near), building.height)
    if canvas.overlaps(gable):
        texture = facade(
            rng,
            materials,
            building.material,
            building.tone,
            (building.depth, building.height),
            float(np.clip(camera.scale(near), 4, 26)),
        )
        canvas.textured_quad((texture * 0.8).astype(np.uint8), gable, subtype, near, near)
    if building.pitched:
        triangle = np.array(
            [
                [front, building.height, near],
                [ridge, ridge_height, near],
                [back, building.height, near],
            ]
        )
        wall = shaded(choose(materials.facades[building.material], building.tone), 0.78)
        canvas.polygon(camera.project(triangle), wall, subtype, near)
    street_front = _upright(camera, (front, near), (front, far), building.height)
    if canvas.overlaps(street_front):
        texture = facade(
            rng,
            materials,
            building.material,
            building.tone,
            (far - near, building.height),
            float(np.clip(camera.scale((near + far) / 2), 4, 26)),
        )
        lit = (texture * front_light).astype(np.uint8)
        canvas.textured_quad(lit, street_front, subtype, near, far)
    # The roof is seen only from above its own plane.
    beneath = building.height - _ROOF_SLOPE * abs(front - camera.lateral)
    if building.pitched and beneath < camera.mounting_height:
        slope = np.array(
            [
                [front, building.height, near],
                [front, building.height, far],
                [ridge, ridge_height, far],
                [ridge, ridge_height, near],
            ]
        )
        canvas.polygon(camera.project(slope), roof, subtype, (near + far) / 2)


def draw_barrier(canvas: Canvas, camera: Camera, item: Barrier, materials: Materials) -> None:
    """Draw a fence or a wall that runs along the street."""
    rng = np.random.default_rng(item.seed)
    near = max(item.near, _NEAREST_WALL)
    resolution = float(np.clip(camera.scale((near + item.far) / 2), 4, 30))
    texture = barrier(
        rng,
        materials,
        item.class_name,
        item.tone,
        (item.far - near, item.height),
        resolution,
    )
    subtype = subtype_id(item.class_name, CLASS_SUBTYPES[item.class_name][0])
    corners = _upright(camera, (item.offset, near), (item.offset, item.far), item.height)
    canvas.textured_quad(texture, corners, subtype, near, item.far)


def _upright(
    camera: Camera, start: tuple[float, float], end: tuple[float, float], height: float
) -> np.ndarray:
    """Image corners (4, 2) of the upright rectangle between two ground points ``(x, z)``."""
    corners = np.array(
        [
            [start[0], height, start[1]],
            [end[0], height, end[1]],
            [end[0], 0.0, end[1]],
            [start[0], 0.0, start[1]],
        ]
    )
    return camera.project(corners)
