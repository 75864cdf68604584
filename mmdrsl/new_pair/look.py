"""What the folders of a pair hold: endings, sizes, ids or colors, found by looking at the files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from statistics import median

import cv2
import numpy as np
from PIL import Image

from mmdrsl.datasets.image_header import read_header
from mmdrsl.datasets.unlabeled import UnlabelledDataset
from mmdrsl.datasets.validation import files_below
from mmdrsl.datasets.video import VIDEO_SUFFIXES
from mmdrsl.new_pair.class_file import Value
from mmdrsl.new_pair.file_names import Naming, find_namings

# Labels that are read for their ids or colors, evenly spread; the doctor reads all.
LABELS_READ = 40
# More values than this are shades of a picture, and no classes.
MOST_VALUES = 256


class NoClassesError(ValueError):
    """A file is readable, but no label that a dataset takes."""


@dataclass(frozen=True)
class Images:
    """Images of a folder.

    Attributes:
        folder: The folder.
        names: Paths below it.
        size: Median width and height.
    """

    folder: Path
    names: list[str]
    size: tuple[int, int]

    def describe(self) -> str:
        """A line about them."""
        endings = Counter(Path(name).suffix for name in self.names)
        kinds = ", ".join(f"{count} {ending}" for ending, count in sorted(endings.items()))
        return f"{self.folder}: {kinds}; {self.size[0]} x {self.size[1]} pixels (median)"


@dataclass(frozen=True)
class Labeled:
    """Images and their labels.

    Attributes:
        images: The images.
        folder: Folder of the labels.
        naming: How labels are named after images.
        unlabeled: Number of images without a label.
        pixels: Pixels of each id or color in the labels that were read.
    """

    images: Images
    folder: Path
    naming: Naming
    unlabeled: int
    pixels: Counter[Value]

    def describe(self) -> str:
        """Lines about them."""
        kind = "colors" if any(isinstance(value, tuple) for value in self.pixels) else "ids"
        total = sum(self.pixels.values())
        shares = ", ".join(
            f"{value} ({100 * count / total:.1f} %)" for value, count in self.pixels.most_common()
        )
        missing = f"; {self.unlabeled} images have none" if self.unlabeled else ""
        return (
            f"{self.images.describe()}\n{self.folder}: labels by {self.naming.options()}{missing}; "
            f"{len(self.pixels)} {kind}: {shares}"
        )


@dataclass(frozen=True)
class Videos:
    """Videos of a folder, or one video.

    Attributes:
        folder: Folder of the videos.
        names: Their names below it.
        size: Width and height of the first one.
    """

    folder: Path
    names: list[str]
    size: tuple[int, int]

    def describe(self) -> str:
        """A line about them."""
        return f"{self.folder}: {len(self.names)} videos; {self.size[0]} x {self.size[1]} pixels"


def look_at_images(folder: Path) -> Images:
    """Look at a folder of images.

    Args:
        folder: The folder.

    Returns:
        Its images.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: It has no image, or an image cannot be read.
    """
    dataset = UnlabelledDataset(data_root=str(folder), check=False, lazy_init=True)
    _, names = dataset.find_files()
    sizes = []
    for name in _some(names):
        path = folder / name
        with path.open("rb") as file:
            sizes.append(read_header(file, str(path)).size)
    width, height = (int(median(side)) for side in zip(*sizes, strict=True))
    return Images(folder, names, (width, height))


def look_at_labeled(images: Path, labels: Path) -> Labeled:
    """Look at images and their labels.

    Args:
        images: Folder of the images.
        labels: Folder of the labels; it may be that of the images.

    Returns:
        What is there.

    Raises:
        FileNotFoundError: A folder is missing.
        ValueError: No label belongs to an image, several kinds of labels do, or a label cannot be read.
    """
    if not labels.is_dir():
        raise FileNotFoundError(f"no folder of labels {labels}: correct the path")
    pictures = look_at_images(images)
    same = labels.resolve() == images.resolve()
    pngs = [name for name in files_below(str(labels)) if name.lower().endswith(".png")]
    namings = _usable(pictures, labels, pngs, same)
    if not namings:
        raise ValueError(
            f"none of the {len(pngs)} PNG files in {labels} is named after an image in {images} (such as "
            f"{pictures.names[0]}): rename them, or write a config with file_patterns, see docs/datasets.md"
        )
    naming, pixels = next(iter(namings.items()))
    paired = naming.pairs(pictures.names, pngs)
    without = set(pictures.names) - paired.keys() - (set(paired.values()) if same else set())
    ending = PurePosixPath(next(iter(paired))).suffix
    by_ending = {str(PurePosixPath(name).with_suffix(ending)): name for name in without}
    others = [by_ending[name] for name in naming.pairs(by_ending, pngs) if name not in paired]
    if others:
        raise ValueError(
            f"{len(others)} images in {images} have a label, but another ending than {ending} (such as {others[0]}), "
            "and a dataset takes one: convert them, or move them and their labels into other folders"
        )
    if len(namings) > 1:
        kinds = "; ".join(
            f"{each.options()} with {len(found)} ids" for each, found in namings.items()
        )
        raise ValueError(
            f"{labels} has several labels for each image: {kinds}. Move those that are not meant into another folder."
        )
    chosen = Images(images, list(paired), pictures.size)
    return Labeled(chosen, labels, naming, len(without), pixels)


def _usable(
    images: Images, labels: Path, names: Sequence[str], same: bool
) -> dict[Naming, Counter[Value]]:
    """Namings whose labels hold classes, and pixels of each class; an error where only others fit."""
    found = {}
    reasons = []
    for naming in find_namings(images.names, names, one_folder=same):
        paired = list(naming.pairs(images.names, names).values())
        try:
            found[naming] = _pixels([labels / name for name in _some(paired)])
        except NoClassesError as error:
            reasons.append(f"labels are named by {naming.options()}, but {error}")
    if reasons and not found:
        raise ValueError("; ".join(reasons))
    # Copies of the ids in color are for people.
    of_ids = {n: p for n, p in found.items() if not any(isinstance(v, tuple) for v in p)}
    return of_ids or found


def _pixels(paths: Sequence[Path]) -> Counter[Value]:
    """Pixels of each id or color of label files."""
    pixels: Counter[Value] = Counter()
    for path in paths:
        pixels.update(values_of(path))
        if len(pixels) > MOST_VALUES:
            raise NoClassesError(
                f"{path} and those before it have more than {MOST_VALUES} ids or colors, as pictures, smoothed colors "
                "and instance maps have: give the files of class ids"
            )
    return pixels


def values_of(path: Path) -> Counter[Value]:
    """Count the pixels of each id or color of a label file.

    Args:
        path: A PNG.

    Returns:
        Pixels of each id, or of each color where the file is one of colors.

    Raises:
        NoClassesError: The file is no PNG, has colors of 16 bits, or is gray with 2 or 4 bits.
        ValueError: The file cannot be read.
    """
    with path.open("rb") as opened:
        header = read_header(opened, str(path))
    few_bits = header.bits in (2, 4) and not header.palette
    if header.file_format != "PNG" or few_bits or (header.bits == 16 and header.channels > 1):
        raise NoClassesError(
            f"{path} is {header.describe()}, expected a PNG of 8 bits, or of 16 bits and one channel: save it as that"
        )
    try:
        with Image.open(path) as file:
            pixels = np.asarray(
                file if file.mode in ("L", "P", "1") or "I" in file.mode else file.convert("RGB")
            )
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"cannot read the label {path} ({error}): restore the file") from error
    if pixels.ndim == 2:
        values, counts = np.unique(pixels.astype(np.int64), return_counts=True)
        return Counter(dict(zip(values.tolist(), counts.tolist(), strict=True)))
    packed = pixels.astype(np.int64) @ np.array([65536, 256, 1])
    values, counts = np.unique(packed, return_counts=True)
    colors = [(value >> 16, value >> 8 & 255, value & 255) for value in values.tolist()]
    return Counter(dict(zip(colors, counts.tolist(), strict=True)))


def look_at_target(path: Path) -> Images | Videos:
    """Look at the target: a folder of images or of videos, or one video.

    Args:
        path: The folder or file.

    Returns:
        What is there; images where a folder has both.

    Raises:
        FileNotFoundError: There is nothing.
        ValueError: It holds neither images nor videos, or a video cannot be opened or has another ending.
    """
    if path.is_file():
        if not path.name.lower().endswith(VIDEO_SUFFIXES):
            raise ValueError(
                f"the target {path} is a file whose ending is none of {', '.join(VIDEO_SUFFIXES)}: give a video with "
                "such an ending, or a folder of images or videos"
            )
        return _videos(path.parent, [path.name])
    if not path.is_dir():
        raise FileNotFoundError(f"no target {path}: give a folder of images or videos, or a video")
    videos = sorted(
        name for name in files_below(str(path)) if name.lower().endswith(VIDEO_SUFFIXES)
    )
    try:
        return look_at_images(path)
    except ValueError:
        if not videos:
            raise
        return _videos(path, videos)


def _videos(folder: Path, names: list[str]) -> Videos:
    first = folder / names[0]
    capture = cv2.VideoCapture(str(first))
    try:
        size = (
            int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
            int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
        )
    finally:
        capture.release()
    if not all(size):
        raise ValueError(f"cannot open the video {first}: convert it to MP4 with H.264")
    return Videos(folder, names, size)


def _some(names: Sequence[str]) -> list[str]:
    """At most `LABELS_READ` names, evenly spread."""
    chosen = np.linspace(0, len(names) - 1, min(LABELS_READ, len(names))).round().astype(int)
    return [names[index] for index in dict.fromkeys(chosen.tolist())]
