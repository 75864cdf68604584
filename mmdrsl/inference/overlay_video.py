"""A video of overlays with a legend of the classes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from mmdrsl.atomic_files import DiskFullError
from mmdrsl.visualization.colors import Palette

_LINE = 20
_COLUMN = 120
_PAPER, _INK = 255, (20, 20, 20)
# What OpenCV's own builds can encode everywhere.
_CODEC = "mp4v"
# The codec counts time in fractions of a second of at most this denominator; OpenCV takes up to three digits.
_FINEST_TIME = 65535
_DIGITS = (3, 2, 1)
_USUAL_RATE = 25.0
_RATES = (0.01, 1000)
TEMPORARY_PREFIX = ".video_"
"""Beginning of the name of a folder in which a video is made."""


def video_length_and_rate(path: Path) -> tuple[int, float]:
    """Frames and frames per second that a video announces.

    Args:
        path: The file.

    Returns:
        Number of frames, 0 where it is unknown, and the rate, the usual one where none makes sense.

    Raises:
        ValueError: OpenCV cannot open the file.
    """
    capture = cv2.VideoCapture(str(path))
    if not capture.isOpened():
        raise ValueError(
            f"cannot open the video {path}: it is damaged or of a codec that OpenCV lacks. Convert it, or leave it out."
        )
    count, rate = capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)
    capture.release()
    # Some containers announce nonsense, such as NaN.
    slowest, fastest = _RATES
    return int(count) if count > 0 else 0, rate if slowest <= rate <= fastest else _USUAL_RATE


def _encodable(rate: float) -> float:
    """The nearest rate (frames per second, at most 1000) that the codec can hold."""
    return next(
        round(rate, digits)
        for digits in _DIGITS
        if round(rate, digits) * 10**digits <= _FINEST_TIME
    )


def legend(classes: Sequence[str], palette: Palette, width: int) -> np.ndarray:
    """Draw boxes of color with the names of the classes.

    Args:
        classes: Names.
        palette: RGB color (0..255) per class.
        width: Width in pixels.

    Returns:
        Blue, green, red, shape (h, width, 3), uint8.
    """
    per_row = max(width // _COLUMN, 1)
    rows = -(-len(classes) // per_row)
    drawn = np.full((rows * _LINE, width, 3), _PAPER, np.uint8)
    for number, (name, color) in enumerate(zip(classes, palette, strict=True)):
        x, y = number % per_row * (width // per_row) + 4, number // per_row * _LINE
        drawn[y + 3 : y + 17, x : x + 22] = color[::-1]
        cv2.putText(drawn, name, (x + 28, y + 15), 0, 0.45, _INK, 1, cv2.LINE_AA)
    return drawn


@contextmanager
def replacing_video(
    path: Path, *, rate: float, classes: Sequence[str], palette: Palette
) -> Iterator[Callable[[np.ndarray], None]]:
    """Write a video with a legend below each frame; it takes its place after the block, complete.

    Args:
        path: The file, which ends in .mp4.
        rate: Frames per second, rounded to what the codec can hold.
        classes: Names.
        palette: RGB color (0..255) per class.

    Yields:
        A function that takes a frame: blue, green, red, shape (H, W, 3), uint8, all of one size.

    Raises:
        OSError: OpenCV cannot write the file.
        DiskFullError: The video lacks frames, as it does where the disk is full.
        ValueError: The frames change their size.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # OpenCV finds the container by the ending, so that the temporary name lies in a folder of its own.
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=TEMPORARY_PREFIX) as folder:
        made = Path(folder, path.name)
        writer = cv2.VideoWriter()
        given = 0
        first: tuple[int, ...] | None = None

        def write(frame: np.ndarray) -> None:
            nonlocal given, first
            first = first or frame.shape
            if frame.shape != first:
                raise ValueError(
                    f"cannot write {path}: the frames change size from {first[1]}x{first[0]} to "
                    f"{frame.shape[1]}x{frame.shape[0]}, expected one size. Convert the video to one, or leave it out."
                )
            picture = np.vstack([frame, legend(classes, palette, frame.shape[1])])
            # The codec takes even sizes alone.
            down, right = picture.shape[0] % 2, picture.shape[1] % 2
            picture = np.pad(picture, ((0, down), (0, right), (0, 0)), mode="edge")
            size = (picture.shape[1], picture.shape[0])
            code = cv2.VideoWriter.fourcc(*_CODEC)
            if not writer.isOpened() and not writer.open(str(made), code, _encodable(rate), size):
                raise OSError(
                    f"OpenCV cannot write an mp4 of {size[0]}x{size[1]} pixels into {path.parent}: check the disk, or "
                    "install opencv-python with FFmpeg."
                )
            writer.write(picture)
            given += 1

        try:
            yield write
        finally:
            writer.release()
        # OpenCV keeps silent about a disk that is full.
        found = _number_of_frames(made)
        if found < given:
            raise DiskFullError(path, f"Of {given} frames {found} could be written.")
        os.replace(made, path)


def _number_of_frames(video: Path) -> int:
    """Frames that a finished video announces; 0 where it cannot be opened."""
    capture = cv2.VideoCapture(str(video))
    count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    capture.release()
    return max(int(count), 0)
