"""Sky, ground, shadows on the ground, and reflections in a wet road."""

from __future__ import annotations

import cv2
import numpy as np

from mmdrsl.scenes.camera import FAR_LIMIT, NEAR_LIMIT, Camera
from mmdrsl.scenes.canvas import Canvas, fixed_point
from mmdrsl.scenes.catalog import subtype_id
from mmdrsl.scenes.materials import Materials, smooth_noise
from mmdrsl.scenes.vehicles import VEHICLE_SHAPES
from mmdrsl.scenes.world import World

_NOISE_SIZE = 256


def draw_sky(canvas: Canvas, camera: Camera, world: World, materials: Materials) -> None:
    """Fill the whole canvas with the sky."""
    rng = np.random.default_rng([world.seed, 1])
    height, width = canvas.subtype.shape
    zenith, horizon = (np.array(color) for color in materials.sky[world.weather.sky])
    elevation = np.clip(1 - np.arange(height) / max(camera.horizon_row, 1.0), 0, 1)[:, None]
    gradient = horizon + (zenith - horizon) * elevation[..., None] ** 0.7
    noise = smooth_noise(rng, _NOISE_SIZE, (4, 8, 16, 32))
    noise = cv2.resize(noise[:128], (width, height), interpolation=cv2.INTER_LINEAR)
    overcast = world.weather.sky == "overcast"
    cover = 0.5 if overcast else world.weather.cloud_cover
    clouds = np.clip(noise * 0.7 + cover * 2 - 1, 0, 1)[..., None]
    cloud_color = zenith * 0.9 if overcast else np.minimum(horizon * 1.08 + 18, 255)
    canvas.color[:] = (gradient + (cloud_color - gradient) * clouds * 0.8).astype(np.uint8)
    canvas.subtype[:] = subtype_id("sky", world.weather.sky)


def draw_ground(canvas: Canvas, camera: Camera, world: World, materials: Materials) -> None:
    """Paint road, sidewalks, verges and side street below the horizon, with shadows."""
    rng = np.random.default_rng([world.seed, 2])
    street = world.street
    first_row, distance, offset = camera.ground()
    surfaces = (street.road, street.sidewalk, street.terrain)
    zones = _ground_zones(world, distance, offset)
    lookup = np.array([materials.ground[name] for name in surfaces], dtype=np.float32)
    color = lookup[zones]
    brightness = _ground_texture(rng, distance, offset, materials.grain)
    fade = np.clip(1.2 - distance / 18, 0, 1)
    if street.sidewalk == "paved":
        joints = (offset % 0.8 < 0.09) | (distance % 0.8 < 0.09)
        brightness -= 0.22 * fade * (joints & (zones == 1))
    if street.road == "concrete":
        slab = (distance % 5.0 < 0.12) & (zones == 0)
        brightness -= 0.2 * fade * slab
    kerb = (np.abs(np.abs(offset) - street.half_width - 0.1) < 0.1) & (zones > 0)
    brightness += 0.16 * kerb
    color *= brightness[..., None]
    color[_markings(world, distance, offset, zones)] = np.array(materials.marking) * 0.95
    shadow = _shadow_mask(world, camera, canvas.subtype.shape)[first_row:]
    color *= 1 - shadow[..., None]
    canvas.color[first_row:] = np.clip(color, 0, 255).astype(np.uint8)
    ids = [
        subtype_id(name, surface)
        for name, surface in zip(("road", "sidewalk", "terrain"), surfaces, strict=True)
    ]
    canvas.subtype[first_row:] = np.array(ids, dtype=np.uint8)[zones]
    canvas.distance[first_row:] = np.minimum(distance, FAR_LIMIT)


def _ground_zones(world: World, distance: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Surface (0 road, 1 sidewalk, 2 terrain) of every ground pixel."""
    street = world.street
    zones = np.full(offset.shape, 2, dtype=np.uint8)
    for side in (-1, 1):
        place = (side + 1) // 2
        outward = offset * side
        start = street.half_width
        if street.verge_at_kerb[place]:
            start += street.verge_width[place]
        stop = start + street.sidewalk_width[place]
        zones[(outward >= start) & (outward < stop)] = 1
    # A kerb of sidewalk stone separates the road from a verge that touches it.
    zones[np.abs(offset) < street.half_width + 0.2] = 1
    zones[np.abs(offset) < street.half_width] = 0
    if street.crossing is not None:
        near, far = street.crossing
        aside = ((distance > near - 1.5) & (distance < far + 1.5)) & (zones > 0)
        zones[aside] = 1
        zones[aside & (distance > near) & (distance < far)] = 0
    return zones


def _ground_texture(
    rng: np.random.Generator, distance: np.ndarray, offset: np.ndarray, grain: float
) -> np.ndarray:
    """Brightness factor of the ground, coarse patches and fine grain that fades far away."""
    noise = smooth_noise(rng, _NOISE_SIZE, (8, 32))
    fine = rng.standard_normal((_NOISE_SIZE, _NOISE_SIZE), dtype=np.float32)
    along = np.broadcast_to(distance, offset.shape)
    coarse_part = _sample(noise, offset * 8, along * 4)
    fine_part = _sample(fine, offset * 24, along * 14)
    fade = np.clip(9 / distance, 0, 1)
    return 1 + grain * (0.035 * coarse_part + 0.06 * fine_part * fade)


def _sample(texture: np.ndarray, columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Bilinear look-up in a texture that repeats; coordinates in its pixels."""
    limit = 30000.0
    return cv2.remap(
        texture,
        np.clip(columns, -limit, limit) % _NOISE_SIZE,
        np.clip(rows, -limit, limit) % _NOISE_SIZE,
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_WRAP,
    )


def _markings(
    world: World, distance: np.ndarray, offset: np.ndarray, zones: np.ndarray
) -> np.ndarray:
    """Mask of the road's lane lines, stop line and zebra crossing."""
    street = world.street
    dashes = (distance + street.marking_phase) % 9 < 4
    marks = (np.abs(offset) < 0.08) & dashes
    marks |= np.abs(np.abs(offset) - street.half_width + 0.3) < 0.06
    if street.crossing is not None:
        near, far = street.crossing
        # No lane line runs across the side street or the zebra in front of it.
        marks &= (distance < near - 5) | (distance > far + 1.5)
        zebra = (distance > near - 4) & (distance < near - 1.2)
        marks |= zebra & (offset % 1.0 < 0.5)
        marks |= (np.abs(distance - near + 4.9) < 0.2) & (offset > 0)
    return marks & (zones == 0) & (np.abs(offset) < street.half_width) & (distance < 90)


def _shadow_mask(world: World, camera: Camera, shape: tuple[int, int]) -> np.ndarray:
    """Darkening (height, width) in 0..1 of the ground by cast and contact shadows."""
    cast = np.zeros(shape, dtype=np.uint8)
    contact = np.zeros(shape, dtype=np.uint8)
    reach = np.array(world.weather.shadow_reach)

    def fill(mask: np.ndarray, footprint: np.ndarray, height: float, start: float = 0.0) -> None:
        outline = np.concatenate([footprint + reach * start, footprint + reach * height])
        outline[:, 1] = np.maximum(outline[:, 1], NEAR_LIMIT)
        flat = np.insert(outline, 1, 0.0, axis=1)
        hull = cv2.convexHull(fixed_point(camera.project(flat)))
        cv2.fillConvexPoly(mask, hull, (255,), shift=4)

    if world.weather.shadow_strength > 0:
        for building in world.buildings:
            inner, outer = building.offset, building.offset + building.side * building.depth
            footprint = np.array(
                [
                    [inner, building.near],
                    [inner, building.far],
                    [outer, building.near],
                    [outer, building.far],
                ]
            )
            fill(cast, footprint, building.height)
        angles = np.linspace(0, 2 * np.pi, 10, endpoint=False)
        circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        for tree in world.trees:
            if tree.season != "bare":
                radius = (tree.height - tree.trunk) * 0.4
                footprint = np.array([tree.x, tree.z]) + circle * radius
                fill(cast, footprint, tree.height, start=tree.trunk)
        for person in world.persons:
            footprint = np.array([person.x, person.z]) + circle * 0.2
            fill(cast, footprint, person.height)
    for vehicle in world.vehicles:
        shape_of = VEHICLE_SHAPES[vehicle.kind]
        footprint = shape_of.footprint(vehicle)
        fill(contact, footprint, 0.0)
        fill(cast, footprint, shape_of.height)
    shadow = np.maximum(
        cast.astype(np.float32) * (world.weather.shadow_strength / 255),
        contact.astype(np.float32) * (0.6 / 255),
    )
    return cv2.GaussianBlur(shadow, (0, 0), 1.2)


def draw_skyline(canvas: Canvas, camera: Camera, world: World, materials: Materials) -> None:
    """Close the street with a distant row of trees and a few far roofs."""
    rng = np.random.default_rng([world.seed, 3])
    scale = camera.scale(FAR_LIMIT)
    width = canvas.subtype.shape[1]
    base = camera.horizon_row + scale * camera.mounting_height
    for _ in range(6):
        left = rng.uniform(-0.1, 0.95) * width
        span, rise = rng.uniform(10, 26) * scale, rng.uniform(6, 14) * scale
        material = str(rng.choice(["brick", "plaster"]))
        facades = materials.facades[material]
        color = facades[int(rng.integers(len(facades)))]
        corners = np.array(
            [
                [left, base],
                [left, base - rise],
                [left + span, base - rise],
                [left + span, base],
            ]
        )
        canvas.polygon(corners, color, subtype_id("building", material), FAR_LIMIT)
    dark, light = (np.array(color) for color in materials.leaves[world.skyline])
    subtype = subtype_id("vegetation", world.skyline)
    columns = np.linspace(-4, width + 4, 60)
    for share in (1.0, 0.6):
        bumps = world.skyline_height * share * (0.55 + 0.45 * rng.random(60)) * scale
        outline = np.stack([columns, base - bumps], axis=1)
        closing = np.array([[width + 4, base + 1], [-4, base + 1]])
        mixed = dark * share + light * (1 - share)
        color = (float(mixed[0]), float(mixed[1]), float(mixed[2]))
        canvas.polygon(np.concatenate([outline, closing]), color, subtype, FAR_LIMIT)


def add_reflections(canvas: Canvas, camera: Camera, world: World) -> None:
    """Mirror what stands above the horizon in a wet road."""
    if world.street.road != "wet asphalt":
        return
    rng = np.random.default_rng([world.seed, 4])
    height, width = canvas.subtype.shape
    rows = np.arange(height)
    # A mirror image on a level road lies as far below the horizon as its object lies above.
    mirrored = np.clip(2 * round(camera.horizon_row) - rows, 0, height - 1)
    image = cv2.blur(canvas.color[mirrored], (3, 15)).astype(np.float32)
    puddles = cv2.resize(smooth_noise(rng, 128, (4, 8, 16)), (width, height))
    share = np.clip(0.38 + 0.22 * puddles, 0.12, 0.75)
    share[canvas.subtype != subtype_id("road", "wet asphalt")] = 0
    mixed = canvas.color * (1 - share[..., None]) + image * share[..., None]
    canvas.color[:] = mixed.astype(np.uint8)
