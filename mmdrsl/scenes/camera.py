"""Perspective projection of the street world."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Meters; nothing nearer than this is drawn, and the road bends no further than the far limit.
NEAR_LIMIT = 1.2
FAR_LIMIT = 120.0


@dataclass(frozen=True, kw_only=True)
class Camera:
    """A level pinhole camera that looks along a gently bending street.

    World coordinates are meters: ``x`` to the right of the road's center line, ``y`` up from the
    ground, ``z`` along the street from the camera.

    Attributes:
        width: Image width in pixels.
        height: Image height in pixels.
        focal: Focal length in pixels.
        center_column: Column of the vanishing point.
        horizon_row: Row of the horizon.
        mounting_height: Height of the camera above the ground in meters.
        lateral: Position of the camera to the right of the center line in meters.
        curvature: Sideways drift of the street in meters per square meter of distance.
    """

    width: int
    height: int
    focal: float
    center_column: float
    horizon_row: float
    mounting_height: float
    lateral: float
    curvature: float

    def bend(self, distance: np.ndarray | float) -> np.ndarray:
        """Sideways drift of the street's center line at a distance, in meters."""
        return self.curvature * np.minimum(distance, FAR_LIMIT) ** 2

    def scale(self, distance: float) -> float:
        """Pixels per meter at a distance in meters."""
        return self.focal / max(distance, NEAR_LIMIT)

    def project(self, points: np.ndarray) -> np.ndarray:
        """Project world points.

        Args:
            points: Array (N, 3) of world points ``(x, y, z)`` in meters.

        Returns:
            Array (N, 2), float64, of ``(column, row)`` in pixels; points nearer than
            :data:`NEAR_LIMIT` are treated as lying at that limit.
        """
        points = np.asarray(points, dtype=np.float64)
        distance = np.maximum(points[:, 2], NEAR_LIMIT)
        sideways = points[:, 0] + self.bend(distance) - self.lateral
        columns = self.center_column + self.focal * sideways / distance
        rows = self.horizon_row + self.focal * (self.mounting_height - points[:, 1]) / distance
        return np.stack([columns, rows], axis=1)

    def ground(self) -> tuple[int, np.ndarray, np.ndarray]:
        """Where each pixel below the horizon meets the ground.

        Returns:
            First image row below the horizon, the distance (rows, 1) of each further row, and the
            offset (rows, width) of each of its pixels from the road's center line, in meters.
        """
        first_row = int(np.clip(np.ceil(self.horizon_row), 0, self.height - 1))
        rows = np.arange(first_row, self.height, dtype=np.float32) + 0.5
        depression = np.maximum(rows - self.horizon_row, 0.5)
        distance = (self.focal * self.mounting_height / depression)[:, None].astype(np.float32)
        columns = np.arange(self.width, dtype=np.float32) + 0.5 - self.center_column
        offset = columns * distance / self.focal + self.lateral - self.bend(distance)
        return first_row, distance, offset.astype(np.float32)
