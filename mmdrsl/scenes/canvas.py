"""The picture under construction: color, sub-type and distance of every pixel."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from mmdrsl.scenes.camera import Camera

Color = tuple[float, float, float]
_SUBPIXEL_BITS = 4
_COORDINATE_LIMIT = 8000.0


class Canvas:
    """Color, sub-type and distance buffers that are painted from far to near.

    Args:
        width: Width in pixels.
        height: Height in pixels.

    Attributes:
        color: Array (height, width, 3), uint8, red-green-blue.
        subtype: Array (height, width), uint8, sub-type ids.
        distance: Array (height, width), float32, meters; zero where nothing was painted, in the
            sky, whose colors need no further haze.
    """

    def __init__(self, *, width: int, height: int) -> None:
        self.color = np.zeros((height, width, 3), dtype=np.uint8)
        self.subtype = np.zeros((height, width), dtype=np.uint8)
        self.distance = np.zeros((height, width), dtype=np.float32)

    def overlaps(self, points: np.ndarray) -> bool:
        """Whether the box around image points (N, 2) reaches into the canvas."""
        height, width = self.subtype.shape
        inside_left_top = (points.max(axis=0) > 0).all()
        inside_right_bottom = (points.min(axis=0) < (width, height)).all()
        return bool(inside_left_top and inside_right_bottom)

    def polygon(self, points: np.ndarray, color: Color, subtype: int, distance: float) -> None:
        """Fill a polygon.

        Args:
            points: Array (N, 2) of ``(column, row)`` in pixels.
            color: Red, green and blue in 0..255.
            subtype: Sub-type id.
            distance: Distance in meters.
        """
        corners = [fixed_point(points)]
        cv2.fillPoly(self.color, corners, color, shift=_SUBPIXEL_BITS)
        cv2.fillPoly(self.subtype, corners, (subtype,), shift=_SUBPIXEL_BITS)
        cv2.fillPoly(self.distance, corners, (distance,), shift=_SUBPIXEL_BITS)

    def line(
        self,
        start: tuple[float, float],
        end: tuple[float, float],
        thickness: float,
        color: Color,
        subtype: int,
        distance: float,
    ) -> None:
        """Draw a line between two image points, at least one pixel thick, with round ends."""
        width = max(1, round(thickness))
        first, last = _fixed_point_pair(start), _fixed_point_pair(end)
        for buffer, value in (
            (self.color, color),
            (self.subtype, (subtype,)),
            (self.distance, (distance,)),
        ):
            cv2.line(buffer, first, last, value, width, cv2.LINE_8, _SUBPIXEL_BITS)

    def textured_quad(
        self,
        texture: np.ndarray,
        corners: np.ndarray,
        subtype: int,
        left_distance: float,
        right_distance: float,
    ) -> None:
        """Paint a texture on an upright rectangle seen in perspective.

        Args:
            texture: Array (h, w, 3), uint8.
            corners: Array (4, 2) of ``(column, row)``: top left, top right, bottom right, bottom
                left of the texture.
            subtype: Sub-type id.
            left_distance: Distance in meters of the texture's left edge.
            right_distance: Distance in meters of the texture's right edge.
        """
        height, width = self.subtype.shape
        low = np.maximum(np.floor(corners.min(axis=0)), 0).astype(int)
        high = np.minimum(np.ceil(corners.max(axis=0)) + 1, (width, height)).astype(int)
        if (high <= low).any():
            return
        size = (int(high[0] - low[0]), int(high[1] - low[1]))
        rows, columns = texture.shape[:2]
        source = np.array([[0, 0], [columns, 0], [columns, rows], [0, rows]], dtype=np.float32)
        transform = cv2.getPerspectiveTransform(source, (corners - low).astype(np.float32))
        painted = cv2.warpPerspective(
            texture, transform, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        mask = np.zeros(size[::-1], dtype=np.uint8)
        cv2.fillPoly(mask, [fixed_point(corners - low)], (255,), shift=_SUBPIXEL_BITS)
        # The inverse distance of an upright plane is linear in the image column.
        span = corners[1, 0] - corners[0, 0]
        share = (np.arange(size[0]) + low[0] - corners[0, 0]) / (span if abs(span) > 1e-6 else 1.0)
        inverse = (1 - share) / left_distance + share / right_distance
        nearer, farther = sorted((left_distance, right_distance))
        plane = np.clip(1 / np.maximum(inverse, 1e-6), nearer, farther).astype(np.float32)
        self.stamp(painted, mask, low, subtype, np.broadcast_to(plane, mask.shape))

    def stamp(
        self,
        color: np.ndarray,
        mask: np.ndarray,
        corner: np.ndarray,
        subtype: int,
        distance: np.ndarray | float,
    ) -> None:
        """Copy a patch to the canvas where its mask is set.

        Args:
            color: Array (h, w, 3), uint8.
            mask: Array (h, w), uint8; non-zero where the patch is opaque.
            corner: ``(column, row)`` of the patch's top left pixel; may lie outside the canvas.
            subtype: Sub-type id.
            distance: Distance in meters, one number or an array (h, w).
        """
        height, width = self.subtype.shape
        left, top = int(corner[0]), int(corner[1])
        inner = (
            slice(max(0, -top), min(mask.shape[0], height - top)),
            slice(max(0, -left), min(mask.shape[1], width - left)),
        )
        if inner[0].start >= inner[0].stop or inner[1].start >= inner[1].stop:
            return
        outer = (
            slice(inner[0].start + top, inner[0].stop + top),
            slice(inner[1].start + left, inner[1].stop + left),
        )
        opaque = mask[inner] > 0
        self.color[outer][opaque] = color[inner][opaque]
        self.subtype[outer][opaque] = subtype
        self.distance[outer][opaque] = (
            distance[inner][opaque] if isinstance(distance, np.ndarray) else distance
        )


@dataclass(frozen=True, kw_only=True)
class Billboard:
    """An upright plane facing the camera, on which flat figures are drawn in meters.

    Attributes:
        canvas: Where to draw.
        origin: Array (2,), ``(column, row)`` of the plane's foot point.
        scale: Pixels per meter.
        distance: Distance in meters.
    """

    canvas: Canvas
    origin: np.ndarray
    scale: float
    distance: float

    @classmethod
    def at(cls, canvas: Canvas, camera: Camera, x: float, z: float) -> Billboard:
        """Plane that stands on the ground at ``(x, 0, z)`` in meters."""
        origin = camera.project(np.array([[x, 0.0, z]]))[0]
        return cls(canvas=canvas, origin=origin, scale=camera.scale(z), distance=z)

    def pixels(self, points: np.ndarray | list[tuple[float, float]]) -> np.ndarray:
        """Image positions (N, 2) of plane points ``(right, up)`` in meters."""
        return self.origin + np.asarray(points, dtype=np.float64) * (self.scale, -self.scale)

    def polygon(self, points: list[tuple[float, float]], color: Color, subtype: int) -> None:
        """Fill a polygon of plane points ``(right, up)`` in meters."""
        self.canvas.polygon(self.pixels(points), color, subtype, self.distance)

    def limb(
        self,
        start: tuple[float, float],
        end: tuple[float, float],
        thickness: float,
        color: Color,
        subtype: int,
    ) -> None:
        """Draw a thick line between two plane points; all lengths in meters."""
        column, row = float(self.origin[0]), float(self.origin[1])
        first = (column + start[0] * self.scale, row - start[1] * self.scale)
        last = (column + end[0] * self.scale, row - end[1] * self.scale)
        self.canvas.line(first, last, thickness * self.scale, color, subtype, self.distance)

    def disc(
        self,
        center: tuple[float, float],
        radius: float,
        color: Color,
        subtype: int,
        squeeze: float = 1.0,
    ) -> None:
        """Fill a disc, narrowed sideways by the factor ``squeeze``; all lengths in meters."""
        angles = np.linspace(0, 2 * np.pi, 14, endpoint=False)
        outline = np.stack([np.cos(angles) * squeeze, np.sin(angles)], axis=1) * radius
        self.canvas.polygon(
            self.pixels(outline + np.asarray(center)), color, subtype, self.distance
        )


def fixed_point(points: np.ndarray) -> np.ndarray:
    """OpenCV's fixed-point form (N, 2), int32, of pixel-edge coordinates."""
    clipped = np.clip(points - 0.5, -_COORDINATE_LIMIT, _COORDINATE_LIMIT)
    return np.round(clipped * 2**_SUBPIXEL_BITS).astype(np.int32)


def _fixed_point_pair(point: tuple[float, float]) -> tuple[int, int]:
    """:func:`fixed_point` of a single point, which lines need many times."""
    column, row = (
        round(min(max(value - 0.5, -_COORDINATE_LIMIT), _COORDINATE_LIMIT) * 2**_SUBPIXEL_BITS)
        for value in point
    )
    return column, row
