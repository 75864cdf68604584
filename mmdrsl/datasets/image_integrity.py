"""Whether an image file is whole, where decoders fill up what is missing without a word."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tempfile
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from PIL import Image

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_ANIMATION = (b"acTL", b"fcTL", b"fdAT")
_JPEG_END = b"\xff\xd9"
# A marker is no stuffed zero, no restart (d0 to d7) and no fill byte.
_JPEG_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_JPEG_STANDALONE = (0x01, 0xD8)
_JPEG_SCAN = 0xDA
# Compressed pixels hardly ever have as many zeros; plain areas with tables of their own may.
_SUSPICIOUS = bytes(64)
_COMPLAINT = b"Corrupt JPEG data"
_STANDARD_ERROR = 2
_DECODE = "import sys, cv2, numpy; cv2.imdecode(numpy.frombuffer(sys.stdin.buffer.read(), numpy.uint8), -1)"
_one_at_a_time = threading.Lock()
_CUT_JPEG = (
    "{path} has no end-of-image marker ({length} bytes): the JPEG file is cut short or filled with zeros; restore it, "
    "or leave it out (ann_file of a data set)"
)


def check_image_file(data: bytes, file_format: str, path: str) -> None:
    """Check a whole image file.

    Args:
        data: Content of the file.
        file_format: Pillow's name of the format.
        path: Name for messages.

    Raises:
        ValueError: The file is cut short, damaged, or an animation.
    """
    if file_format == "PNG":
        check_png(data, path)
    elif file_format in ("JPEG", "MPO"):
        check_jpeg(data, path)
    elif file_format == "JPEG2000" and _JPEG_END not in data:
        raise ValueError(_CUT_JPEG.format(path=path, length=len(data)))
    elif file_format == "TIFF":
        _check_tiff(data, path)


def check_png(data: bytes, path: str) -> bytes:
    """Check the checksums of a whole PNG file, which decoders skip in part.

    Args:
        data: Content of the file.
        path: Name for messages.

    Returns:
        The compressed pixels.

    Raises:
        ValueError: If a checksum is wrong, the end is missing, or there are several pictures.
    """
    position = len(_PNG_SIGNATURE)
    kind, pixels = b"", []
    while kind != b"IEND":
        length = int.from_bytes(data[position : position + 4], "big")
        content = data[position + 4 : position + 8 + length]
        checksum = data[position + 8 + length : position + 12 + length]
        kind = content[:4]
        if len(checksum) < 4 or zlib.crc32(content) != int.from_bytes(checksum, "big"):
            raise ValueError(
                f"{path} is cut short or damaged at byte {position} of {len(data)}: restore the file"
            )
        if kind in _ANIMATION:
            raise ValueError(
                f"{path} is an animated PNG, which decoders show differently: save a single picture"
            )
        if kind == b"IDAT":
            pixels.append(content[4:])
        position += 12 + length
    return b"".join(pixels)


def check_png_rows(compressed: bytes, size: tuple[int, int], bits: int, path: str) -> None:
    """Check that a PNG file of one channel, not interlaced, has all its rows; Pillow fills missing ones with zeros.

    Args:
        compressed: What `check_png` returns.
        size: Width and height.
        bits: Bits per pixel.
        path: Name for messages.

    Raises:
        ValueError: If rows are missing.
    """
    width, height = size
    # A row begins with the number of its filter.
    row = 1 + -(-width * bits // 8)
    try:
        found = len(zlib.decompress(compressed)) // row
    except zlib.error as error:
        raise ValueError(
            f"cannot decode {path} ({error}): the file is damaged, restore it"
        ) from error
    if found < height:
        raise ValueError(f"cannot decode {path}: it has {found} of {height} rows, restore the file")


def check_jpeg(data: bytes, path: str) -> int:
    """Check that a JPEG file reaches its end-of-image marker; what follows that does not matter.

    Args:
        data: Content of the file.
        path: Name for messages.

    Returns:
        Where the marker ends.

    Raises:
        ValueError: If the marker is missing.
    """
    position = 0
    while (found := _JPEG_MARKER.search(data, position)) is not None:
        marker, position = data[found.end() - 1], found.end()
        if marker == _JPEG_END[1]:
            return position
        if marker not in _JPEG_STANDALONE:
            # Pictures inside of a segment, such as a thumbnail, have ends of their own.
            position += max(2, int.from_bytes(data[position : position + 2], "big"))
    raise ValueError(_CUT_JPEG.format(path=path, length=len(data)))


@contextmanager
def refusing_zeros(data: bytes, file_format: str, path: str) -> Iterator[None]:
    """Refuse a JPEG file with zeros in its middle, if the decoder that runs in the block complains of it.

    The decoder only writes to the process's standard error, which is read where a picture has long runs of zeros. Other
    threads write there, too, so that a decoder in a process of its own has the last word.

    Args:
        data: Content of the file.
        file_format: Pillow's name of the format.
        path: Name for messages.

    Yields:
        Nothing; the block decodes the file.

    Raises:
        ValueError: The decoder complained.
    """
    if file_format not in ("JPEG", "MPO") or not _has_zeros(data, path):
        yield
        return
    with _one_at_a_time, tempfile.TemporaryFile() as said:
        kept = os.dup(_STANDARD_ERROR)
        os.dup2(said.fileno(), _STANDARD_ERROR)
        try:
            yield
        finally:
            os.dup2(kept, _STANDARD_ERROR)
            os.close(kept)
        said.seek(0)
        lines = said.readlines()
    complaints = _complaints(lines) and _complaints(_decoder_says(data))
    os.write(_STANDARD_ERROR, b"".join(line for line in lines if line not in complaints))
    if complaints:
        raise ValueError(
            f"{path} is damaged in its middle ({complaints[0].decode().strip()}): restore the file, or leave it out "
            "(ann_file of a data set)"
        )


def _has_zeros(data: bytes, path: str) -> bool:
    """Whether the compressed pixels of a JPEG file hold suspiciously many zeros; others may follow the picture."""
    return data.find(_SUSPICIOUS, _first_scan(data), check_jpeg(data, path)) >= 0


def _complaints(lines: list[bytes]) -> list[bytes]:
    return [line for line in lines if line.startswith(_COMPLAINT)]


def _decoder_says(data: bytes) -> list[bytes]:
    """Lines that the decoder writes to standard error in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", _DECODE], input=data, capture_output=True, check=False
    )
    return done.stderr.splitlines(keepends=True)


def _first_scan(data: bytes) -> int:
    """Where the compressed pixels of a JPEG file begin; the segments before may well have zeros."""
    position = 0
    while (found := _JPEG_MARKER.search(data, position)) is not None:
        marker, position = data[found.end() - 1], found.end()
        if marker == _JPEG_SCAN:
            break
        if marker not in _JPEG_STANDALONE:
            position += max(2, int.from_bytes(data[position : position + 2], "big"))
    return position


def check_jpeg_end(file: BinaryIO, path: str) -> None:
    """Check the same, but read only the last two bytes where they are the marker.

    Args:
        file: The open file.
        path: Name for messages.

    Raises:
        ValueError: If the marker is missing.
    """
    file.seek(-len(_JPEG_END), os.SEEK_END)
    if file.read() != _JPEG_END:
        file.seek(0)
        check_jpeg(file.read(), path)


def _check_tiff(data: bytes, path: str) -> None:
    """Decode with Pillow, since OpenCV returns what it could read of a damaged file."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(
            f"cannot decode {path}: {error}; the file is damaged, restore it"
        ) from error
