"""What the head of an image file says, read before anything is decoded, and errors that name the file."""

import os
import struct
from dataclasses import dataclass
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

MAX_SIDE = 16384
"""Longest side in pixels: what is beyond it is a damaged header or a mosaic, and would fill the memory."""

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_HEADER_LENGTH = 26
_ORIENTATION = 0x0112
# Pillow's modes of the formats that have no 16-bit color; everything else has 8 bits.
_BITS_OF_MODE = {"1": 1, "I;16": 16, "I;16B": 16, "I;16L": 16, "I;16N": 16, "I": 32, "F": 32}


@dataclass(frozen=True)
class ImageHeader:
    """Kind and size of an image file.

    Attributes:
        file_format: Pillow's name, such as ``PNG``.
        size: Width and height in pixels.
        channels: Number of channels of a pixel; a palette counts as one.
        bits: Bits per channel as stored.
        palette: Whether pixels are indices into a palette.
        alpha: Whether pixels may be transparent.
        orientation: EXIF tag 274 (1..8), how viewers turn the image; 1 where there is none.
    """

    file_format: str
    size: tuple[int, int]
    channels: int
    bits: int
    palette: bool
    alpha: bool
    orientation: int = 1

    @property
    def upright_size(self) -> tuple[int, int]:
        """Width and height as viewers show the image."""
        return self.size if self.orientation < 5 else self.size[::-1]

    def describe(self) -> str:
        """Name the kind, such as ``PNG, 3 x 8 bits``."""
        kind = "palette of" if self.palette else f"{self.channels} x"
        return f"{self.file_format}, {kind} {self.bits} bits"


def read_header(file: BinaryIO, path: str) -> ImageHeader:
    """Read the head of an image file.

    Args:
        file: The open file or its bytes, at their beginning; left anywhere.
        path: Name for messages.

    Returns:
        The header.

    Raises:
        ValueError: If it is no image, or longer than `MAX_SIDE` on a side.
    """
    start = file.read(_PNG_HEADER_LENGTH)
    length = file.seek(0, os.SEEK_END)
    file.seek(0)
    try:
        with Image.open(file) as image:
            size, mode, file_format = image.size, image.mode, str(image.format)
            channels = len(image.getbands())
            alpha = mode in {"RGBA", "LA", "PA"} or "transparency" in image.info
            orientation = _orientation(image)
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"{path} claims too many pixels ({error}): the header is damaged, or cut the image into tiles"
        ) from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise ValueError(
            f"cannot read the header of {path} ({length} bytes): the file is damaged or no image; restore it, or leave "
            "it out (ann_file of a data set)"
        ) from error
    if max(size) > MAX_SIDE:
        raise ValueError(
            f"{path} is {size[0]}x{size[1]} pixels, more than {MAX_SIDE} on a side: the header is damaged, or cut the "
            "image into tiles"
        )
    # Pillow shows 16-bit color PNGs as 8-bit; the byte at the fixed place tells.
    is_png = start.startswith(_PNG_SIGNATURE) and len(start) == _PNG_HEADER_LENGTH
    bits = start[24] if is_png else _BITS_OF_MODE.get(mode, 8)
    return ImageHeader(
        file_format, size, channels, bits, palette=mode == "P", alpha=alpha, orientation=orientation
    )


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, as far as it is known before the pixels are read."""
    if "exif" not in image.info and image.format != "TIFF":
        return 1
    try:
        tag = image.getexif().get(_ORIENTATION, 1)
    except (OSError, SyntaxError, ValueError, struct.error):
        # Viewers show an image with a damaged entry as it is stored.
        return 1
    return int(tag) if tag in range(1, 9) else 1
