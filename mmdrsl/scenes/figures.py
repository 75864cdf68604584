"""Persons, bicycles, trees and everything on a pole."""

from __future__ import annotations

import itertools

import cv2
import numpy as np

from mmdrsl.scenes.camera import Camera
from mmdrsl.scenes.canvas import Billboard, Canvas, Color
from mmdrsl.scenes.catalog import subtype_id
from mmdrsl.scenes.materials import SKIN, Materials, choose, shaded
from mmdrsl.scenes.world import Bicycle, Person, Post, Tree

_HAIR: Color = (52, 40, 34)
_DARK: Color = (30, 32, 34)
_LAMPS: tuple[Color, ...] = ((236, 50, 40), (250, 186, 40), (60, 220, 110))
_SIGN_RED: Color = (206, 34, 40)
_SIGN_BLUE: Color = (30, 86, 180)
_SIGN_WHITE: Color = (244, 244, 242)
_SIGN_YELLOW: Color = (246, 206, 50)


def draw_person(canvas: Canvas, camera: Camera, person: Person, materials: Materials) -> None:
    """Draw a walking or standing pedestrian."""
    plane = Billboard.at(canvas, camera, person.x, person.z)
    subtype = subtype_id("person", "pedestrian")
    coat = choose(materials.clothes, person.coat)
    trousers = shaded(choose(materials.clothes, person.trousers), 0.7)
    skin = choose(SKIN, person.skin)
    unit = person.height
    step = 0.14 * person.stride * unit
    hip, shoulder = 0.5 * unit, 0.82 * unit
    for foot in (-step, step):
        plane.limb((foot * 0.2, hip), (foot, 0.03), 0.095 * unit, trousers, subtype)
        plane.limb((foot, 0.03), (foot + 0.05, 0.03), 0.05 * unit, _DARK, subtype)
    plane.limb((0, shoulder), (-0.13 * unit - 0.3 * step, hip), 0.06 * unit, coat, subtype)
    torso = [
        (-0.12 * unit, shoulder),
        (0.12 * unit, shoulder),
        (0.1 * unit, hip - 0.05),
        (-0.1 * unit, hip - 0.05),
    ]
    plane.polygon(torso, coat, subtype)
    arm = shaded(coat, 0.82)
    plane.limb((0.1 * unit, shoulder), (0.13 * unit + 0.3 * step, hip), 0.06 * unit, arm, subtype)
    plane.disc((0, 0.915 * unit), 0.068 * unit, skin, subtype, squeeze=0.85)
    plane.disc((0, 0.95 * unit), 0.055 * unit, _HAIR, subtype)


def draw_bicycle(canvas: Canvas, camera: Camera, bicycle: Bicycle, materials: Materials) -> None:
    """Draw a bicycle and its rider, if it has one."""
    plane = Billboard.at(canvas, camera, bicycle.x, bicycle.z)
    subtype = subtype_id("bicycle", "city bicycle")
    rider = subtype_id("rider", "cyclist")
    frame = choose(materials.paint, bicycle.tone)
    coat = choose(materials.clothes, bicycle.coat)
    skin = choose(SKIN, bicycle.skin)
    trousers = shaded(coat, 0.5)
    if bicycle.sideways:
        for hub in (-0.52, 0.52):
            rim = np.linspace(0, 2 * np.pi, 15)
            circle = [(hub + 0.34 * np.cos(a), 0.34 + 0.34 * np.sin(a)) for a in rim]
            for start, end in itertools.pairwise(circle):
                plane.limb(start, end, 0.06, _DARK, subtype)
        for start, end in (
            ((-0.52, 0.34), (-0.2, 0.85)),
            ((-0.2, 0.85), (0.4, 0.85)),
            ((0.0, 0.36), (0.4, 0.85)),
            ((-0.2, 0.85), (0.0, 0.36)),
            ((-0.52, 0.34), (0.0, 0.36)),
            ((0.52, 0.34), (0.38, 1.02)),
            ((0.38, 1.02), (0.22, 1.04)),
            ((-0.3, 0.93), (-0.1, 0.93)),
        ):
            plane.limb(start, end, 0.06, frame, subtype)
        if bicycle.ridden:
            plane.limb((-0.18, 0.95), (0.18, 0.62), 0.15, trousers, rider)
            plane.limb((0.18, 0.62), (0.02, 0.25), 0.12, trousers, rider)
            plane.limb((-0.18, 0.98), (0.1, 1.45), 0.26, coat, rider)
            plane.limb((0.1, 1.42), (0.32, 1.08), 0.09, shaded(coat, 0.85), rider)
            plane.disc((0.2, 1.68), 0.12, skin, rider)
            plane.disc((0.19, 1.74), 0.11, frame, rider)
        return
    plane.disc((0, 0.34), 0.34, _DARK, subtype, squeeze=0.16)
    plane.limb((0, 0.3), (0, 0.9), 0.07, frame, subtype)
    plane.limb((-0.28, 1.02), (0.28, 1.02), 0.06, _DARK, subtype)
    if bicycle.ridden:
        for side, foot in ((-1, 0.22), (1, 0.42)):
            plane.limb((side * 0.12, 0.95), (side * 0.13, foot), 0.13, trousers, rider)
        torso = [(-0.2, 1.5), (0.2, 1.5), (0.16, 0.86), (-0.16, 0.86)]
        plane.polygon(torso, coat, rider)
        for side in (-1, 1):
            plane.limb((side * 0.2, 1.42), (side * 0.27, 1.05), 0.09, shaded(coat, 0.8), rider)
        plane.disc((0, 1.64), 0.13, skin, rider, squeeze=0.85)
        plane.disc((0, 1.7), 0.12, frame, rider)


def draw_post(canvas: Canvas, camera: Camera, post: Post, materials: Materials) -> None:
    """Draw a street lamp, a traffic sign or a traffic light on its pole."""
    plane = Billboard.at(canvas, camera, post.x, post.z)
    pole = subtype_id("pole", "steel")
    steel = shaded(materials.steel, 0.8 + 0.4 * post.tone)
    top = post.height
    plane.limb((0, 0), (0, top), 0.13 if post.kind == "lamp" else 0.1, steel, pole)
    if post.kind == "lamp":
        inward = -1.0 if post.x > 0 else 1.0
        plane.limb((0, top), (inward * 1.4, top + 0.15), 0.1, steel, pole)
        plane.limb((inward * 1.2, top + 0.08), (inward * 1.8, top + 0.08), 0.16, steel, pole)
    elif post.kind == "light":
        subtype = subtype_id("traffic light", "three lamps")
        box = [(-0.22, top), (0.22, top), (0.22, top - 1.15), (-0.22, top - 1.15)]
        plane.polygon(box, _DARK, subtype)
        lit = min(int(post.tone * 3), 2)
        for number, lamp in enumerate(_LAMPS):
            color = lamp if number == lit else shaded(lamp, 0.25)
            plane.disc((0, top - 0.22 - 0.35 * number), 0.13, color, subtype)
    else:
        _draw_sign(plane, post)


def _draw_sign(plane: Billboard, post: Post) -> None:
    subtype = subtype_id("traffic sign", "plate")
    center = post.height - 0.1
    if post.tone < 0.3:
        plane.disc((0, center), 0.42, _SIGN_RED, subtype)
        plane.disc((0, center), 0.27, _SIGN_WHITE, subtype)
    elif post.tone < 0.5:
        for size, color in ((0.5, _SIGN_RED), (0.28, _SIGN_WHITE)):
            triangle = [
                (-size, center - 0.55 * size),
                (size, center - 0.55 * size),
                (0.0, center + size),
            ]
            plane.polygon(triangle, color, subtype)
    elif post.tone < 0.75:
        plane.polygon(_square(0.38, center), _SIGN_BLUE, subtype)
        plane.limb((0, center - 0.2), (0, center + 0.2), 0.12, _SIGN_WHITE, subtype)
    else:
        board = [
            (-0.6, center + 0.25),
            (0.6, center + 0.25),
            (0.6, center - 0.25),
            (-0.6, center - 0.25),
        ]
        plane.polygon(board, _SIGN_YELLOW, subtype)
        plane.limb((-0.4, center), (0.4, center), 0.1, _DARK, subtype)


def _square(half: float, center: float) -> list[tuple[float, float]]:
    return [
        (-half, center + half),
        (half, center + half),
        (half, center - half),
        (-half, center - half),
    ]


def draw_tree(canvas: Canvas, camera: Camera, tree: Tree, materials: Materials) -> None:
    """Draw a tree or a bush: leafy, or bare with branches only."""
    rng = np.random.default_rng(tree.seed)
    plane = Billboard.at(canvas, camera, tree.x, tree.z)
    subtype = subtype_id("vegetation", tree.season)
    crown = tree.height - tree.trunk
    half = tree.height * 0.75
    reach = plane.pixels([(-half, 0.0), (half, 1.2 * tree.height)])
    if not canvas.overlaps(reach):
        return
    bark = shaded(materials.bark, 0.85 + 0.3 * tree.tone)
    if tree.trunk > 0:
        plane.limb((0, 0), (0, tree.trunk + 0.3 * crown), 0.035 * tree.height, bark, subtype)
    if tree.season == "bare":
        base = (0.0, tree.trunk)
        _draw_branch(plane, rng, base, 90.0, crown * 0.36, 0.032 * tree.height, 5, bark, subtype)
        return
    _draw_crown(plane, rng, tree, crown, materials, subtype)


def _draw_branch(
    plane: Billboard,
    rng: np.random.Generator,
    start: tuple[float, float],
    direction: float,
    length: float,
    thickness: float,
    levels: int,
    color: Color,
    subtype: int,
) -> None:
    """Draw a branch and, recursively, what grows from its end; direction in degrees."""
    angle = np.deg2rad(direction)
    end = (start[0] + length * float(np.cos(angle)), start[1] + length * float(np.sin(angle)))
    plane.limb(start, end, thickness, color, subtype)
    # Twigs below a third of a pixel would all be drawn a whole pixel wide.
    if levels == 0 or thickness * plane.scale < 0.35:
        return
    for turn in (-32.0, 4.0, 32.0):
        _draw_branch(
            plane,
            rng,
            end,
            direction + turn + rng.normal(0, 9),
            length * rng.uniform(0.6, 0.8),
            thickness * 0.6,
            levels - 1 if turn else 0,
            color,
            subtype,
        )


def _draw_crown(
    plane: Billboard,
    rng: np.random.Generator,
    tree: Tree,
    crown: float,
    materials: Materials,
    subtype: int,
) -> None:
    """Draw puffs of leaves, lit from above, with a ragged outline."""
    radius = crown * plane.scale * 0.5
    extent = int(np.ceil(radius * 1.25))
    side = 2 * extent + 1
    corner = np.round(plane.pixels([(0.0, tree.height - crown / 2)])[0] - extent)
    if radius < 1:
        return
    lit = np.zeros((side, side), dtype=np.float32)
    mask = np.zeros((side, side), dtype=np.float32)
    count = 14
    places = rng.normal(0, 0.36, (count, 2)).clip(-0.62, 0.62) * radius
    for column, row in places[np.argsort(-places[:, 1])]:
        center = (round(extent + column), round(extent + row))
        puff = max(1, round(radius * rng.uniform(0.32, 0.5)))
        light = 0.95 - 0.35 * row / radius + rng.normal(0, 0.06)
        cv2.circle(mask, center, puff, (1.0,), cv2.FILLED)
        cv2.circle(lit, center, puff, (light * 0.86,), cv2.FILLED)
        highlight = (center[0] - puff // 4, center[1] - puff // 3)
        cv2.circle(lit, highlight, max(1, round(puff * 0.62)), (light * 1.06,), cv2.FILLED)
    leaves = max(3, round(crown * 7))
    cells = rng.standard_normal((leaves, leaves), dtype=np.float32)
    noise = cv2.resize(cells, (side, side), interpolation=cv2.INTER_LINEAR)
    softness = 2 * round(radius * 0.12) + 1
    mask = cv2.blur(mask, (softness, softness)) + 0.16 * noise
    dark, light_color = (np.array(color) for color in materials.leaves[tree.season])
    share = np.clip(0.15 + 0.6 * tree.tone + 0.25 * noise * materials.grain, 0, 1)[..., None]
    color = (dark + (light_color - dark) * share) * np.maximum(lit, 0.6)[..., None]
    color *= 1 + 0.12 * materials.grain * noise[..., None]
    canvas_color = np.clip(color, 0, 255).astype(np.uint8)
    opaque = (mask > 0.5).astype(np.uint8)
    plane.canvas.stamp(canvas_color, opaque, corner, subtype, plane.distance)
