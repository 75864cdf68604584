"""What the head of an image file says, read before anything is decoded, and errors that name the file."""

import os
import zlib
from dataclasses import dataclass
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

MAX_SIDE = 16384
"""Longest side in pixels: what is beyond it is a damaged header or a mosaic, and would fill the memory."""

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_HEADER_LENGTH = 26
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
    """

    file_format: str
    size: tuple[int, int]
    channels: int
    bits: int
    palette: bool
    alpha: bool

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
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"{path} claims too many pixels ({error}): the header is damaged, or cut the image into tiles"
        ) from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise ValueError(
            f"cannot read the header of {path} ({length} bytes): the file is damaged or no image; restore it, or leave "
            "it out with ann_file"
        ) from error
    if max(size) > MAX_SIDE:
        raise ValueError(
            f"{path} is {size[0]}x{size[1]} pixels, more than {MAX_SIDE} on a side: the header is damaged, or cut the "
            "image into tiles"
        )
    # Pillow shows 16-bit color PNGs as 8-bit; the byte at the fixed place tells.
    is_png = start.startswith(_PNG_SIGNATURE) and len(start) == _PNG_HEADER_LENGTH
    bits = start[24] if is_png else _BITS_OF_MODE.get(mode, 8)
    return ImageHeader(file_format, size, channels, bits, palette=mode == "P", alpha=alpha)


def check_png(data: bytes, path: str) -> None:
    """Check the checksums of a whole PNG file, which decoders skip in part.

    Args:
        data: Content of the file.
        path: Name for messages.

    Raises:
        ValueError: If a checksum is wrong or the end is missing.
    """
    position = len(_PNG_SIGNATURE)
    kind = b""
    while kind != b"IEND":
        length = int.from_bytes(data[position : position + 4], "big")
        content = data[position + 4 : position + 8 + length]
        checksum = data[position + 8 + length : position + 12 + length]
        kind = content[:4]
        if len(checksum) < 4 or zlib.crc32(content) != int.from_bytes(checksum, "big"):
            raise ValueError(
                f"{path} is cut short or damaged at byte {position} of {len(data)}: restore the file"
            )
        position += 12 + length
