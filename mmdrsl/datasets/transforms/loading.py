"""Loading of images, labels and pseudo labels, with errors that name the file."""

import io
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS
from PIL import Image

from mmdrsl.datasets.image_header import ImageHeader, read_header
from mmdrsl.datasets.image_integrity import (
    check_image_file,
    check_png,
    check_png_rows,
    refusing_zeros,
)
from mmdrsl.datasets.label_spaces import IGNORE_INDEX, Color

# OpenCV decodes color as blue, green, red.
_CHANNELS = {"red": 2, "green": 1, "blue": 0}
_EIGHT_BITS = "8"
_MASK = "mask"
_NO_COLOR = 65535
# The byte of a PNG's header that says whether rows are stored in several passes.
_PNG_INTERLACED = 28
_MAX_LISTED = 5


class UnknownColorsError(ValueError):
    """A label file has colors that its table does not list."""


def read_raw_ids(path: str, channel: str | tuple[Color, ...] | None = None) -> npt.NDArray[Any]:
    """Read the class ids that a label PNG stores, without changing any.

    Args:
        path: The label file.
        channel: How the file stores ids.

            - None: one channel of 8 or 16 bits, or a palette, whose index is the id.
            - 'mask': the same, or 1 bit.
            - 'red', 'green' or 'blue': 16-bit files of three channels, which Pillow would silently
              reduce to their high byte.
            - 'red8', 'green8' or 'blue8': 8-bit files of three or four channels.
            - Colors: 8-bit color files or palettes that show classes by their colors; the position of
              a color is the id.

    Returns:
        Ids of shape (H, W), uint16 from 16-bit files and colors, else uint8.

    Raises:
        FileNotFoundError: If the file is missing.
        UnknownColorsError: If the file has other colors.
        ValueError: If the channel is unknown, or if the file is no readable PNG or stores another
            type or number of channels.
    """
    is_mask = channel == _MASK
    if is_mask:
        channel = None
    if isinstance(channel, str) and channel.removesuffix(_EIGHT_BITS) not in _CHANNELS:
        raise ValueError(
            f"unknown label channel {channel!r}: use one of {list(_CHANNELS)} for 16-bit files, the same followed by 8 "
            "for 8-bit ones, or None"
        )
    data = _read_bytes(path)
    header = read_header(io.BytesIO(data), path)
    if header.file_format != "PNG":
        raise ValueError(
            f"the label {path} is {header.file_format}: labels are PNG, since other formats may change ids"
        )
    compressed = check_png(data, path)
    # OpenCV gives the colors of a palette rather than its indices, and stretches bits to 0 and 255.
    by_pillow = header.palette or (is_mask and header.bits == 1)
    if by_pillow and (channel is None or isinstance(channel, str)):
        ids = _stored_values(data, compressed, header, path)
    elif header.bits < 8 and not header.palette:
        raise ValueError(
            f"the label {path} is gray with {header.bits} bits per pixel, which readers stretch "
            "to 0..255: save it with 8 bits, or give a label table of the ids 0 and 1 for masks of 1 bit"
        )
    else:
        ids = _decoded(data, path)
    if channel is not None and not isinstance(channel, str):
        return _color_ids(ids, channel, path)
    num_channels = 1 if ids.ndim == 2 else ids.shape[2]
    found = f"{num_channels} channel(s) of {ids.dtype}"
    if channel is None:
        if ids.dtype not in (np.uint8, np.uint16) or num_channels != 1:
            raise ValueError(
                f"the label {path} has {found}, expected 1 channel of uint8 or uint16, or a palette: "
                "give the file of class ids rather than an instance map, or give the label table the "
                "colors of the classes"
            )
        return ids
    wide = not channel.endswith(_EIGHT_BITS)
    expected = ("3 channels of uint16", {3}) if wide else ("3 or 4 channels of uint8", {3, 4})
    if ids.dtype != (np.uint16 if wide else np.uint8) or num_channels not in expected[1]:
        raise ValueError(
            f"the label {path} has {found}, expected {expected[0]} with the id in the "
            f"{channel} one: give the published file, not a colored or re-saved one"
        )
    return ids[..., _CHANNELS[channel.removesuffix(_EIGHT_BITS)]]


def read_train_ids(
    path: str, lookup: npt.NDArray[np.int16], channel: str | tuple[Color, ...] | None = None
) -> npt.NDArray[np.uint8]:
    """Read a label PNG and turn its raw ids into train ids.

    Args:
        path: The label file.
        lookup: Raw id to train id, 255 for ignored, -1 for unknown, as
            `mmdrsl.datasets.label_spaces.build_lookup` makes it; its last entry must be -1.
        channel: As for `read_raw_ids`.

    Returns:
        Train ids of shape (H, W), 255 where ignored.

    Raises:
        FileNotFoundError: If the file is missing.
        ValueError: As `read_raw_ids`, and if the file holds unknown ids.
    """
    raw = read_raw_ids(path, channel)
    train_ids = np.take(lookup, raw, mode="clip")
    unknown = train_ids < 0
    if unknown.any():
        counts = zip(*np.unique(raw[unknown], return_counts=True), strict=True)
        listed = ", ".join(f"{raw_id} ({count} pixels)" for raw_id, count in counts)
        raise ValueError(
            f"the label {path} holds ids that its label table does not list: {listed}; check that "
            "the dataset type fits the files, and the label channel and encoding"
        )
    return train_ids.astype(np.uint8)


@TRANSFORMS.register_module()
class LoadImage(BaseTransform):
    """Load an image as blue, green, red of 8 bits.

    Gray images are repeated in all channels, and 16-bit colors keep their high byte. An image that
    EXIF turns is turned, unless it has a label (`seg_map_path`): then it is refused, since the label
    may be drawn on either. Refused are also files that are no photograph: 1-bit, 16-bit gray (a depth
    or instance map), transparent pixels, an animation, a side beyond `MAX_SIDE`.

    Required key: `img_path`. Added keys: `img` (uint8, shape (H, W, 3)), `img_shape` and
    `ori_shape` (both (H, W)).
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Load the image.

        Args:
            results: Pipeline dictionary with `img_path`.

        Returns:
            The dictionary with the image.

        Raises:
            FileNotFoundError: If the file is missing.
            ValueError: If the file is empty, cut short, no image or no photograph, or if its label
                could be turned.
        """
        path = results["img_path"]
        data = _read_bytes(path)
        header = read_header(io.BytesIO(data), path)
        _check_photograph(header, path)
        if header.orientation != 1 and results.get("seg_map_path"):
            raise ValueError(turned_message([path], header.orientation))
        if header.orientation != 1 and header.file_format == "TIFF":
            raise ValueError(
                f"the image {path} is a TIFF file with the orientation {header.orientation}, which OpenCV reads in "
                "part: save it upright"
            )
        check_image_file(data, header.file_format, path)
        encoded = np.frombuffer(data, np.uint8)
        with refusing_zeros(data, header.file_format, path):
            image = cv2.imdecode(encoded, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        if image is None or image.size == 0:
            raise ValueError(
                f"cannot decode the image {path} ({encoded.size} bytes): it is cut short, damaged "
                "or of an unknown format; restore it, or leave it out (ann_file of a data set)"
            )
        if header.alpha:
            _check_opaque(encoded, path)
        image = _upright(np.asarray(image), header)
        results["img"] = image
        results["img_shape"] = image.shape[:2]
        results["ori_shape"] = image.shape[:2]
        return results


@TRANSFORMS.register_module()
class LoadLabels(BaseTransform):
    """Load a label file as train ids.

    In a training pipeline it stands before the geometric transforms. In a test pipeline it may
    stand after `Resize`, so that the label keeps the original size on which metrics count.

    Required keys: `seg_map_path`, `label_lookup`, `label_channel`, `seg_fields`, all from
    `LabelledImageDataset`, and `ori_shape` from the image. Added key: `gt_seg_map` (uint8, shape
    (H, W), 255 where ignored).
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Load the label.

        Args:
            results: Pipeline dictionary.

        Returns:
            The dictionary with `gt_seg_map`, named in `seg_fields`.

        Raises:
            FileNotFoundError: If the file is missing.
            ValueError: If the file cannot be read, has another type or number of channels than its
                dataset, holds unknown ids, or has another size than the image.
        """
        path = results["seg_map_path"]
        label = read_train_ids(path, results["label_lookup"], results["label_channel"])
        _check_size(path, label, results)
        return _put_label(results, label)


@TRANSFORMS.register_module()
class LoadPseudoLabels(BaseTransform):
    """Load a pseudo label, or ignore every pixel while there is none.

    Required keys: `pseudo_label_path` (None while there is none), `num_classes` and `seg_fields`,
    all from `UnlabelledDataset`, and `ori_shape` from the image. Added key: `gt_seg_map` (uint8,
    shape (H, W), train ids, 255 where ignored).
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Load the pseudo label.

        Args:
            results: Pipeline dictionary.

        Returns:
            The dictionary with `gt_seg_map`, named in `seg_fields`.

        Raises:
            FileNotFoundError: If the file is missing.
            ValueError: If the file is no 8-bit PNG of one channel, holds an id that is neither 255
                nor below the number of classes, or has another size than the image.
        """
        path = results["pseudo_label_path"]
        if path is None:
            # Without a file the label follows the image as it is now, resized or not.
            empty = np.full(results["img"].shape[:2], IGNORE_INDEX, dtype=np.uint8)
            return _put_label(results, empty)
        raw = read_raw_ids(path)
        num_classes = results["num_classes"]
        wrong = np.unique(raw[(raw >= num_classes) & (raw != IGNORE_INDEX)])
        if wrong.size:
            raise ValueError(
                f"the pseudo label {path} holds ids {wrong.tolist()}, expected 0..{num_classes - 1}"
                f" or {IGNORE_INDEX}: it was made for another label space, make it again"
            )
        label = raw.astype(np.uint8)
        _check_size(path, label, results)
        return _put_label(results, label)


def turned_message(paths: Sequence[str], orientation: int) -> str:
    """Say why labeled images that EXIF turns are refused.

    Args:
        paths: The images.
        orientation: The tag of the first one.

    Returns:
        The message.
    """
    more = f" and {len(paths) - 1} others" if len(paths) > 1 else ""
    return (
        f"the image {paths[0]}{more} has the EXIF orientation {orientation}: viewers turn it, so that its label may "
        "be drawn on the turned or on the stored pixels. Turn the pixels if the label shows them turned (for instance "
        "mogrify -auto-orient), or else remove the tag"
    )


def _read_bytes(path: str) -> bytes:
    """Read a file, refusing missing and empty ones by name."""
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"no file {path}: restore it, or leave it out (ann_file of a data set)"
        )
    data = Path(path).read_bytes()
    if not data:
        raise ValueError(f"the file {path} is empty (0 bytes): restore it")
    return data


def _decoded(data: bytes, path: str) -> npt.NDArray[Any]:
    """Decode a label without changing the type of its channels."""
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None:
        raise ValueError(f"cannot decode the label {path}: the file is damaged, restore it")
    return np.asarray(decoded)


def _stored_values(
    data: bytes, compressed: bytes, header: ImageHeader, path: str
) -> npt.NDArray[Any]:
    """Decode indices of a palette, or single bits as 0 and 1, with Pillow."""
    if data[_PNG_INTERLACED]:
        _decoded(data, path)
    else:
        check_png_rows(compressed, header.size, header.bits, path)
    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(image).astype(np.uint8)
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(
            f"cannot decode the label {path}: {error}; the file is damaged, restore it"
        ) from error


@lru_cache(maxsize=4)
def _color_lookup(colors: tuple[Color, ...]) -> npt.NDArray[np.uint16]:
    """Position of each of the 2**24 colors, `_NO_COLOR` for others."""
    lookup = np.full(1 << 24, _NO_COLOR, np.uint16)
    for position, (red, green, blue) in enumerate(colors):
        lookup[red << 16 | green << 8 | blue] = position
    return lookup


def _color_ids(
    decoded: npt.NDArray[Any], colors: tuple[Color, ...], path: str
) -> npt.NDArray[np.uint16]:
    """Positions of the colors of pixels (blue, green, red and perhaps opacity), shape (H, W)."""
    num_channels = 1 if decoded.ndim == 2 else decoded.shape[2]
    if decoded.dtype != np.uint8 or num_channels not in (3, 4):
        raise ValueError(
            f"the label {path} has {num_channels} channel(s) of {decoded.dtype}, expected colors of 8-bit channels or "
            "a palette: give the colored file, or give the label table ids in place of colors"
        )
    if num_channels == 4 and (decoded[..., 3] != 255).any():
        raise ValueError(
            f"the label {path} has transparent pixels, whose class is undefined: save it without opacity"
        )
    blue, green, red = (decoded[..., index].astype(np.int32) for index in range(3))
    found = red << 16 | green << 8 | blue
    ids = _color_lookup(colors)[found]
    unknown = ids == _NO_COLOR
    if unknown.any():
        values, counts = np.unique(found[unknown], return_counts=True)
        listed = [
            f"({value >> 16}, {value >> 8 & 255}, {value & 255}) ({count} pixels)"
            for value, count in zip(values.tolist(), counts, strict=True)
        ]
        more = f" and {len(listed) - _MAX_LISTED} others" if len(listed) > _MAX_LISTED else ""
        raise UnknownColorsError(
            f"the label {path} holds colors that its label table does not list: {', '.join(listed[:_MAX_LISTED])}"
            f"{more}; list them, or give the file as it was drawn, without smooth edges or compression"
        )
    return ids


def _upright(image: npt.NDArray[Any], header: ImageHeader) -> npt.NDArray[Any]:
    """Turn an image as its EXIF orientation says."""
    # 5 to 8 exchange rows and columns; then either may run backward.
    if header.orientation >= 5:
        image = image.swapaxes(0, 1)
    if header.orientation in (3, 4, 7, 8):
        image = image[::-1]
    if header.orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return np.ascontiguousarray(image)


def _check_photograph(header: ImageHeader, path: str) -> None:
    """Refuse files whose bit depth no photograph has."""
    if header.bits == 1 or (header.channels == 1 and header.bits > 8):
        raise ValueError(
            f"the image {path} is {header.describe()}, a mask or a depth map rather than a "
            "photograph: check data_prefix['img_path'], or save it with 8 bits"
        )


def _check_opaque(encoded: npt.NDArray[np.uint8], path: str) -> None:
    """Refuse transparent pixels, whose color is undefined."""
    decoded = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED)
    if decoded is not None and decoded.ndim == 3 and decoded.shape[2] == 4:
        opacity = np.asarray(decoded)[..., 3]
        transparent = int(
            np.count_nonzero(opacity != (255 if opacity.dtype == np.uint8 else 65535))
        )
        if transparent:
            raise ValueError(
                f"the image {path} has {transparent} transparent pixels, whose color is undefined, or a "
                "fourth band that is no transparency: save it with three channels"
            )


def _check_size(path: str, label: npt.NDArray[np.uint8], results: dict[str, Any]) -> None:
    """Refuse a label whose size differs from that of its image as stored."""
    expected = tuple(results["ori_shape"] if "ori_shape" in results else results["img"].shape[:2])
    if label.shape != expected:
        raise ValueError(
            f"the label {path} is {label.shape[1]}x{label.shape[0]} but its image "
            f"{results.get('img_path')} is {expected[1]}x{expected[0]} (width x height): pair the "
            "right files or leave the pair out with ann_file"
        )


def _put_label(results: dict[str, Any], label: npt.NDArray[np.uint8]) -> dict[str, Any]:
    """Store a label the way MMSegmentation's own loading transform does."""
    results["gt_seg_map"] = label
    results["seg_fields"].append("gt_seg_map")
    return results
