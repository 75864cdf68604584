"""Colors and textures of the world's surfaces in each look."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from mmdrsl.scenes.canvas import Color
from mmdrsl.scenes.world import Look


@dataclass(frozen=True, kw_only=True)
class Materials:
    """Palette of one look; colors are red-green-blue in 0..255.

    Attributes:
        ground: Color of each sub-type of the road, the sidewalk and the terrain.
        marking: Color of road markings.
        sky: Colors at the zenith and at the horizon of each sub-type of the sky.
        facades: Wall colors of each sub-type of the building.
        roofs: Roof colors.
        leaves: Two leaf colors of each sub-type of the vegetation.
        bark: Color of trunks and branches.
        paint: Car colors.
        clothes: Colors of clothes.
        steel: Color of poles.
        barrier: Colors of each barrier class.
        grain: Relative strength of surface textures.
    """

    ground: dict[str, Color]
    marking: Color
    sky: dict[str, tuple[Color, Color]]
    facades: dict[str, tuple[Color, ...]]
    roofs: tuple[Color, ...]
    leaves: dict[str, tuple[Color, Color]]
    bark: Color
    paint: tuple[Color, ...]
    clothes: tuple[Color, ...]
    steel: Color
    barrier: dict[str, tuple[Color, ...]]
    grain: float


SKIN: tuple[Color, ...] = ((236, 192, 160), (205, 150, 112), (150, 100, 70), (96, 64, 46))
WINDOW: Color = (58, 74, 92)

MATERIALS: dict[Look, Materials] = {
    "game": Materials(
        ground={
            "dry asphalt": (104, 104, 112),
            "wet asphalt": (66, 68, 80),
            "concrete": (164, 158, 148),
            "paved": (196, 172, 150),
            "plain": (190, 190, 186),
            "grass": (104, 168, 62),
            "soil": (186, 146, 96),
        },
        marking=(248, 240, 214),
        sky={
            "blue": ((52, 122, 214), (164, 210, 242)),
            "overcast": ((150, 162, 178), (206, 212, 218)),
            "dusk": ((84, 76, 142), (252, 172, 112)),
        },
        facades={
            "brick": ((178, 82, 58), (196, 108, 72), (150, 66, 54), (206, 142, 92)),
            "glass": ((70, 132, 168), (58, 108, 148), (88, 156, 172), (64, 92, 124)),
            "plaster": (
                (244, 222, 170),
                (242, 190, 150),
                (206, 222, 232),
                (240, 236, 224),
                (186, 214, 176),
            ),
        },
        roofs=((176, 78, 52), (148, 62, 46), (84, 88, 104)),
        leaves={
            "summer": ((56, 128, 44), (118, 184, 62)),
            "autumn": ((204, 92, 28), (236, 164, 44)),
            "bare": ((112, 86, 66), (140, 112, 88)),
        },
        bark=(104, 76, 54),
        paint=(
            (214, 40, 40),
            (40, 88, 190),
            (240, 240, 240),
            (36, 38, 44),
            (246, 190, 40),
            (168, 176, 184),
            (46, 140, 100),
        ),
        clothes=(
            (206, 56, 56),
            (54, 90, 170),
            (44, 46, 58),
            (236, 214, 130),
            (90, 150, 96),
            (228, 228, 232),
            (140, 84, 150),
        ),
        steel=(122, 128, 138),
        barrier={
            "fence": ((206, 168, 120), (236, 236, 232), (84, 110, 92)),
            "wall": ((186, 176, 160), (170, 126, 104)),
        },
        grain=0.6,
    ),
    "camera": Materials(
        ground={
            "dry asphalt": (111, 110, 111),
            "wet asphalt": (72, 72, 78),
            "concrete": (158, 154, 145),
            "paved": (166, 151, 138),
            "plain": (169, 167, 162),
            "grass": (101, 139, 64),
            "soil": (157, 128, 93),
        },
        marking=(225, 220, 204),
        sky={
            "blue": ((88, 142, 210), (187, 216, 235)),
            "overcast": ((169, 176, 185), (215, 218, 219)),
            "dusk": ((105, 99, 145), (244, 180, 133)),
        },
        facades={
            "brick": ((153, 83, 65), (171, 106, 79), (129, 72, 62), (178, 132, 94)),
            "glass": ((85, 123, 145), (72, 102, 126), (101, 142, 151), (72, 89, 108)),
            "plaster": (
                (219, 201, 161),
                (213, 176, 146),
                (190, 199, 202),
                (221, 217, 206),
                (176, 191, 161),
            ),
        },
        roofs=((150, 78, 59), (124, 66, 54), (84, 86, 95)),
        leaves={
            "summer": ((52, 95, 41), (110, 150, 64)),
            "autumn": ((166, 86, 35), (208, 149, 54)),
            "bare": ((97, 79, 66), (124, 104, 88)),
        },
        bark=(88, 69, 55),
        paint=(
            (169, 42, 42),
            (50, 81, 147),
            (221, 221, 220),
            (38, 39, 43),
            (209, 168, 56),
            (154, 160, 164),
            (70, 116, 99),
        ),
        clothes=(
            (165, 59, 58),
            (58, 81, 134),
            (43, 44, 51),
            (198, 179, 120),
            (87, 121, 86),
            (200, 199, 199),
            (117, 81, 122),
        ),
        steel=(114, 118, 123),
        barrier={
            "fence": ((170, 139, 105), (206, 205, 200), (78, 97, 84)),
            "wall": ((164, 156, 144), (151, 118, 101)),
        },
        grain=1.1,
    ),
}


def choose(colors: tuple[Color, ...], tone: float) -> Color:
    """Color at the place ``tone`` in 0..1 of a palette."""
    return colors[min(int(tone * len(colors)), len(colors) - 1)]


def shaded(color: Color, factor: float) -> Color:
    """Color made darker (below one) or brighter (above one), limited to 0..255."""
    red, green, blue = (float(min(255.0, max(0.0, channel * factor))) for channel in color)
    return (red, green, blue)


def smooth_noise(rng: np.random.Generator, size: int, octaves: tuple[int, ...]) -> np.ndarray:
    """Square random texture of several scales, for surfaces.

    Args:
        rng: Source of randomness; advanced.
        size: Side length in pixels.
        octaves: Number of random cells along a side, for each scale.

    Returns:
        Array (size, size), float32, of about zero mean and unit spread, the same left and right
        and above and below, so that it may be laid side by side.
    """
    total = np.zeros((size, size), dtype=np.float32)
    for cells in octaves:
        field = rng.standard_normal((cells, cells), dtype=np.float32)
        # One cell of wrapped margin makes the enlarged field continue across its own border.
        wrapped = cv2.copyMakeBorder(field, 1, 1, 1, 1, cv2.BORDER_WRAP)
        margin = size // cells
        large = cv2.resize(wrapped, (size + 2 * margin,) * 2, interpolation=cv2.INTER_LINEAR)
        total += large[margin : margin + size, margin : margin + size]
    return total / np.sqrt(len(octaves))


def facade(
    rng: np.random.Generator,
    materials: Materials,
    material: str,
    tone: float,
    size: tuple[float, float],
    resolution: float,
) -> np.ndarray:
    """Texture of a building's wall, with windows.

    Args:
        rng: Source of randomness; advanced.
        materials: Palette.
        material: Sub-type of the building.
        tone: Choice of the wall color, in 0..1.
        size: Width and height in meters.
        resolution: Pixels per meter.

    Returns:
        Array (h, w, 3), uint8, red-green-blue.
    """
    width, height = (max(4, round(length * resolution)) for length in size)
    wall = np.array(choose(materials.facades[material], tone), dtype=np.float32)
    if material == "glass":
        return _glass_front(rng, wall, size, (width, height))
    if material == "brick":
        texture = _bricks(rng, wall, size, (width, height), materials.grain)
    else:
        stains = cv2.resize(rng.standard_normal((5, 7), dtype=np.float32), (width, height))
        texture = wall * (1 + 0.03 * materials.grain * stains[..., None])
    texture = np.clip(texture, 0, 255).astype(np.uint8)
    _add_windows(rng, texture, wall, size, resolution)
    return texture


def _bricks(
    rng: np.random.Generator,
    wall: np.ndarray,
    size: tuple[float, float],
    pixels: tuple[int, int],
    grain: float,
) -> np.ndarray:
    columns, rows = max(2, round(size[0] / 0.5)), max(2, round(size[1] / 0.25))
    tones = rng.normal(1.0, 0.11 * grain + 0.05, (rows, columns)).astype(np.float32)
    bricks = cv2.resize(tones, pixels, interpolation=cv2.INTER_NEAREST)
    course = (np.arange(pixels[1]) * rows / pixels[1])[:, None]
    along = (np.arange(pixels[0]) * columns / pixels[0])[None, :] + 0.5 * (course.astype(int) % 2)
    if pixels[1] / rows >= 3:
        mortar = (course % 1 < 0.3) | (along % 1 < 0.16)
        bricks = np.where(mortar, 1.22, bricks)
    return wall * bricks[..., None]


def _glass_front(
    rng: np.random.Generator, wall: np.ndarray, size: tuple[float, float], pixels: tuple[int, int]
) -> np.ndarray:
    columns, rows = max(2, round(size[0] / 1.6)), max(2, round(size[1] / 1.6))
    panes = rng.normal(1.0, 0.13, (rows, columns)).astype(np.float32)
    reflection = np.linspace(1.35, 0.75, pixels[1], dtype=np.float32)[:, None]
    tones = cv2.resize(panes, pixels, interpolation=cv2.INTER_NEAREST) * reflection
    texture = wall * tones[..., None]
    across = np.arange(pixels[0]) * columns / pixels[0] % 1 < 0.12
    upward = np.arange(pixels[1]) * rows / pixels[1] % 1 < 0.12
    texture[upward[:, None] | across[None, :]] = wall * 0.55 + 24
    return np.clip(texture, 0, 255).astype(np.uint8)


def _add_windows(
    rng: np.random.Generator,
    texture: np.ndarray,
    wall: np.ndarray,
    size: tuple[float, float],
    resolution: float,
) -> None:
    """Draw rows of windows, a cornice, and a shop front or a door on the ground floor."""

    def box(left: float, top: float, width: float, height: float, color: np.ndarray) -> None:
        corner = (round(left * resolution), round(top * resolution))
        opposite = (
            round((left + width) * resolution) - 1,
            round((top + height) * resolution) - 1,
        )
        if opposite[0] >= corner[0] and opposite[1] >= corner[1]:
            cv2.rectangle(texture, corner, opposite, color.tolist(), cv2.FILLED)

    frame = np.clip(wall * 0.35 + 160, 0, 245)
    columns = max(1, int(size[0] / 2.4))
    pitch = size[0] / columns
    window_width, window_height = rng.uniform(0.95, 1.35), rng.uniform(1.4, 1.9)
    shutters = rng.random() < 0.35
    shutter_color = rng.uniform(40, 150, 3)
    pane = np.array(WINDOW)
    floor_tops = np.arange(size[1] - 6.4, -2.0, -3.2)
    for floor_top in floor_tops[floor_tops > -0.3]:
        for column in range(columns):
            left = (column + 0.5) * pitch - window_width / 2
            top = floor_top + 0.9
            if shutters:
                box(left - 0.4, top, window_width + 0.8, window_height, shutter_color)
            box(left - 0.12, top - 0.12, window_width + 0.24, window_height + 0.28, frame)
            brightness = rng.uniform(0.7, 1.3)
            box(left, top, window_width, window_height, pane * brightness)
            box(left + window_width / 2 - 0.05, top, 0.1, window_height, frame)
            box(left, top, window_width, window_height * 0.25, pane * brightness * 1.5)
    ground_floor = size[1] - 3.1
    if rng.random() < 0.5:
        awning = rng.uniform(60, 220, 3)
        box(0.5, ground_floor + 0.7, size[0] - 1.0, 2.1, pane * 1.2)
        box(0.4, ground_floor + 0.2, size[0] - 0.8, 0.7, awning)
        for left in np.arange(0.5, size[0] - 0.5, 2.0):
            box(left, ground_floor + 0.9, 0.15, 1.9, frame)
    else:
        door = rng.integers(columns)
        for column in range(columns):
            left = (column + 0.5) * pitch - window_width / 2
            if column == door:
                box(left, ground_floor + 0.9, window_width, 2.3, rng.uniform(50, 130, 3))
            else:
                box(left - 0.12, ground_floor + 0.88, window_width + 0.24, 1.6, frame)
                box(left, ground_floor + 1.0, window_width, 1.35, pane)
    box(0, 0, size[0], 0.35, np.clip(wall * 1.15, 0, 255))


def barrier(
    rng: np.random.Generator,
    materials: Materials,
    class_name: str,
    tone: float,
    size: tuple[float, float],
    resolution: float,
) -> np.ndarray:
    """Texture of a fence or a wall.

    Args:
        rng: Source of randomness; advanced.
        materials: Palette.
        class_name: ``fence`` or ``wall``.
        tone: Choice of the color, in 0..1.
        size: Width and height in meters.
        resolution: Pixels per meter.

    Returns:
        Array (h, w, 3), uint8, red-green-blue.
    """
    width, height = (max(4, round(length * resolution)) for length in size)
    color = np.array(choose(materials.barrier[class_name], tone), dtype=np.float32)
    if class_name == "wall":
        stones = (max(2, round(size[0] / 0.7)), max(2, round(size[1] / 0.35)))
        stone_tones = rng.normal(1.0, 0.12, stones[::-1]).astype(np.float32)
        tones = cv2.resize(stone_tones, (width, height), interpolation=cv2.INTER_NEAREST)
        tones[: max(1, height // 8)] = 1.2
    else:
        along = np.arange(width) / resolution
        upward = np.arange(height) / height
        slats = np.where(along % 0.4 < 0.24, 1.0, 0.45).astype(np.float32)
        tones = np.repeat(slats[None, :], height, axis=0)
        rails = ((upward > 0.18) & (upward < 0.28)) | ((upward > 0.7) & (upward < 0.8))
        tones[rails] = 0.85
    return np.clip(color * tones[..., None], 0, 255).astype(np.uint8)
