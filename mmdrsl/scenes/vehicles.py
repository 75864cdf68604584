"""Cars and buses: side profiles stretched across the vehicle's width."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mmdrsl.scenes.camera import Camera
from mmdrsl.scenes.canvas import Canvas, Color
from mmdrsl.scenes.catalog import subtype_id
from mmdrsl.scenes.materials import Materials, choose, shaded
from mmdrsl.scenes.world import Vehicle

_Fill = Callable[[list[tuple[float, float, float]], Color], None]
_GLASS: Color = (44, 54, 66)
_TYRE: Color = (26, 26, 28)
_DARK: Color = (34, 34, 38)
_HUB: Color = (150, 152, 156)
_TAIL_LAMP: Color = (196, 30, 28)
_HEAD_LAMP: Color = (250, 246, 226)
_PLATE: Color = (236, 232, 214)


@dataclass(frozen=True, kw_only=True)
class VehicleShape:
    """Shape of a kind of vehicle; lengths in meters.

    Attributes:
        profile: Corners ``(from the rear, above the ground)``, from the rear's foot over the roof
            to the front's foot.
        glazed: Numbers of the profile's edges that are windscreens.
        side_windows: Outlines of the side windows in the profile's plane.
        width: Width.
        wheel_radius: Radius of the wheels.
    """

    profile: tuple[tuple[float, float], ...]
    glazed: tuple[int, ...]
    side_windows: tuple[tuple[tuple[float, float], ...], ...]
    width: float
    wheel_radius: float

    @property
    def length(self) -> float:
        """Length over all."""
        return max(corner[0] for corner in self.profile)

    @property
    def height(self) -> float:
        """Height over all."""
        return max(corner[1] for corner in self.profile)

    def footprint(self, vehicle: Vehicle) -> np.ndarray:
        """Corners (4, 2) of a placed vehicle's outline on the ground, ``(x, z)`` in meters."""
        half = self.width / 2
        corners = [(0, -half), (0, half), (self.length, half), (self.length, -half)]
        return self.place(vehicle, [(along, 0.0, across) for along, across in corners])[:, [0, 2]]

    def place(self, vehicle: Vehicle, points: list[tuple[float, float, float]]) -> np.ndarray:
        """World points (N, 3) of vehicle points ``(from the rear, up, to its right)``."""
        angle = np.deg2rad(vehicle.heading)
        local = np.asarray(points, dtype=np.float64)
        along, across = local[:, 0] - self.length / 2, local[:, 2]
        x = vehicle.x + along * np.sin(angle) + across * np.cos(angle)
        z = vehicle.z + along * np.cos(angle) - across * np.sin(angle)
        return np.stack([x, local[:, 1], z], axis=1)


VEHICLE_SHAPES: dict[str, VehicleShape] = {
    "hatchback": VehicleShape(
        profile=(
            (0, 0.32),
            (0, 0.9),
            (0.4, 1.46),
            (2.2, 1.5),
            (3.0, 0.98),
            (3.9, 0.8),
            (4.0, 0.3),
        ),
        glazed=(1, 3),
        side_windows=(
            ((0.5, 1.36), (1.35, 1.4), (1.35, 0.98), (0.3, 0.98)),
            ((1.45, 1.4), (2.12, 1.4), (2.75, 0.98), (1.45, 0.98)),
        ),
        width=1.8,
        wheel_radius=0.33,
    ),
    "sedan": VehicleShape(
        profile=(
            (0, 0.32),
            (0, 0.92),
            (0.9, 1.0),
            (1.5, 1.42),
            (2.9, 1.42),
            (3.6, 0.96),
            (4.6, 0.8),
            (4.7, 0.3),
        ),
        glazed=(2, 4),
        side_windows=(
            ((1.55, 1.34), (2.1, 1.34), (2.1, 0.98), (1.15, 0.98)),
            ((2.2, 1.34), (2.85, 1.34), (3.35, 0.98), (2.2, 0.98)),
        ),
        width=1.85,
        wheel_radius=0.34,
    ),
    "van": VehicleShape(
        profile=(
            (0, 0.36),
            (0, 1.15),
            (0.12, 1.85),
            (0.25, 2.1),
            (3.5, 2.1),
            (4.4, 1.2),
            (4.9, 1.0),
            (5.0, 0.35),
        ),
        glazed=(1, 4),
        side_windows=(((3.0, 1.9), (3.5, 1.9), (4.15, 1.2), (3.0, 1.2)),),
        width=2.0,
        wheel_radius=0.36,
    ),
    "pick-up": VehicleShape(
        profile=(
            (0, 0.5),
            (0, 1.1),
            (2.2, 1.1),
            (2.4, 1.8),
            (3.5, 1.8),
            (4.2, 1.2),
            (5.3, 1.08),
            (5.4, 0.45),
        ),
        glazed=(2, 4),
        side_windows=(((2.5, 1.7), (3.45, 1.7), (3.95, 1.22), (2.4, 1.22)),),
        width=1.95,
        wheel_radius=0.42,
    ),
    "city bus": VehicleShape(
        profile=(
            (0, 0.4),
            (0, 1.5),
            (0, 2.6),
            (0.1, 3.1),
            (10.9, 3.1),
            (11.0, 2.7),
            (11.0, 1.1),
            (11.0, 0.35),
        ),
        glazed=(1, 5),
        side_windows=tuple(
            ((left, 2.6), (left + 1.45, 2.6), (left + 1.45, 1.4), (left, 1.4))
            for left in (0.4, 2.0, 3.6, 5.2, 6.8, 8.4)
        ),
        width=2.5,
        wheel_radius=0.5,
    ),
}


def draw_vehicle(canvas: Canvas, camera: Camera, vehicle: Vehicle, materials: Materials) -> None:
    """Draw a vehicle from its visible faces, the far ones first."""
    shape = VEHICLE_SHAPES[vehicle.kind]
    subtype = subtype_id(vehicle.class_name, vehicle.kind)
    paint = shaded(choose(materials.paint, vehicle.tone), vehicle.finish)
    half = shape.width / 2

    def fill(points: list[tuple[float, float, float]], color: Color) -> None:
        placed = camera.project(shape.place(vehicle, points))
        canvas.polygon(placed, color, subtype, vehicle.z)

    _draw_underside(fill, shape)
    faces = []
    for number, (start, end) in enumerate(itertools.pairwise(shape.profile)):
        quad = [
            (start[0], start[1], -half),
            (end[0], end[1], -half),
            (end[0], end[1], half),
            (start[0], start[1], half),
        ]
        if not _faces_camera(camera, shape.place(vehicle, quad)):
            continue
        depth = float(shape.place(vehicle, quad)[:, 2].mean())
        faces.append((depth, number, quad))
    for _, number, quad in sorted(faces, key=lambda face: -face[0]):
        slope = _upwardness(quad)
        fill(quad, _GLASS if number in shape.glazed else shaded(paint, 0.82 + 0.3 * slope))
        if number == 0:
            _draw_end(fill, shape, 0.0, _TAIL_LAMP)
        if number == len(shape.profile) - 2:
            _draw_end(fill, shape, shape.length, _HEAD_LAMP)
    for across in (-half, half):
        outline = [(along, up, across) for along, up in shape.profile]
        if _faces_camera(camera, shape.place(vehicle, outline[:: -1 if across < 0 else 1])):
            _draw_side(fill, shape, across, paint)


def _faces_camera(camera: Camera, corners: np.ndarray) -> bool:
    """Whether a face is seen from outside, told by the turning sense of its outline."""
    projected = camera.project(corners)
    following = np.roll(projected, -1, axis=0)
    area = projected[:, 0] * following[:, 1] - following[:, 0] * projected[:, 1]
    return bool(area.sum() > 0)


def _upwardness(quad: list[tuple[float, float, float]]) -> float:
    """How far a face points up, in 0..1."""
    run, rise = quad[1][0] - quad[0][0], quad[1][1] - quad[0][1]
    return abs(run) / max(float(np.hypot(run, rise)), 1e-6)


def _draw_underside(fill: _Fill, shape: VehicleShape) -> None:
    half, radius = shape.width / 2, shape.wheel_radius
    foot = shape.profile[0][1]
    for along in (0.0, shape.length):
        shade = [
            (along, 0.16, -half),
            (along, foot, -half),
            (along, foot, half),
            (along, 0.16, half),
        ]
        fill(shade, _DARK)
    for along in (0.19 * shape.length, 0.8 * shape.length):
        for across in (-half + 0.15, half - 0.15):
            low, high = across - 0.13, across + 0.13
            tyre = [
                (along, 0.0, low),
                (along, radius * 1.3, low),
                (along, radius * 1.3, high),
                (along, 0.0, high),
            ]
            fill(tyre, _TYRE)


def _draw_end(fill: _Fill, shape: VehicleShape, along: float, lamp: Color) -> None:
    """Lamps, number plate and bumper of the rear or the front."""
    half = shape.width / 2
    foot, shoulder = shape.profile[0][1], min(shape.profile[1][1], shape.profile[-2][1])

    def box(low: float, high: float, bottom: float, top: float, color: Color) -> None:
        fill(
            [(along, bottom, low), (along, top, low), (along, top, high), (along, bottom, high)],
            color,
        )

    rise = shoulder - foot
    box(-half, half, foot, foot + 0.3 * rise, (46, 46, 50))
    for side in (-1, 1):
        edges = sorted((side * half * 0.95, side * half * 0.62))
        box(edges[0], edges[1], foot + 0.55 * rise, foot + 0.88 * rise, lamp)
    box(-0.26, 0.26, foot + 0.32 * rise, foot + 0.54 * rise, _PLATE)


def _draw_side(fill: _Fill, shape: VehicleShape, across: float, paint: Color) -> None:
    """Side panel with windows and wheels."""
    fill([(along, up, across) for along, up in shape.profile], shaded(paint, 0.92))
    for window in shape.side_windows:
        fill([(along, up, across) for along, up in window], _GLASS)
    angles = np.linspace(0, 2 * np.pi, 14, endpoint=False)
    for share in (0.19, 0.8):
        for radius, color in (
            (shape.wheel_radius, _TYRE),
            (shape.wheel_radius * 0.55, _HUB),
        ):
            rim = [
                (
                    share * shape.length + radius * float(np.cos(angle)),
                    shape.wheel_radius + radius * float(np.sin(angle)),
                    across,
                )
                for angle in angles
            ]
            fill(rim, color)
