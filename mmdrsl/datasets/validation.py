"""Checks of a dataset's files that fail before a training starts rather than in its middle."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from mmdrsl.datasets.image_header import ImageHeader, read_header
from mmdrsl.datasets.image_integrity import check_jpeg_end
from mmdrsl.datasets.label_spaces import Color
from mmdrsl.datasets.transforms.loading import read_train_ids, turned_message

_MAX_LISTED = 5
_HEADER_THREADS = 8


def check_folder(folder: str, key: str) -> None:
    """Check that a folder exists.

    Args:
        folder: The folder.
        key: Name of the config key that gave it, for the message.

    Raises:
        FileNotFoundError: If there is no such folder.
    """
    if not Path(folder).is_dir():
        raise FileNotFoundError(
            f"no folder {folder} (from {key}, relative to {Path.cwd()}): correct {key}, or put or "
            "link the data there"
        )


def choose_folder(data_root: str, folder: str | Sequence[str]) -> str:
    """Choose the first of several usual folders that exists.

    Args:
        data_root: Folder that the others lie in.
        folder: One folder, or several alternatives in order of preference.

    Returns:
        The folder to use, relative to `data_root`; the first one where none exists.
    """
    choices = [folder] if isinstance(folder, str) else list(folder)
    return next((name for name in choices if Path(data_root, name).is_dir()), choices[0])


def find_images(folder: str, suffixes: Sequence[str], ann_file: str = "") -> list[str]:
    """List the images below a folder, or those that a list file names.

    Args:
        folder: Folder searched with its sub-folders; hidden files and folders are left out.
        suffixes: Endings of image names, upper and lower case alike.
        ann_file: Text file of one image per line, relative to `folder`, with or without extension;
            '' lists the folder.

    Returns:
        Paths relative to `folder` with '/' as separator; sorted, or in the list's order.

    Raises:
        FileNotFoundError: If the list file or an image it names is missing, or an image is a link to nowhere.
        PermissionError: If a sub-folder cannot be read.
        ValueError: If there is no image, the list leaves the folder or repeats an image, or sub-folders lead in a
            circle.
    """
    if ann_file:
        images = _find_listed(folder, suffixes, ann_file)
    else:
        files = list(files_below(folder))
        images = sorted(name for name in files if _has_suffix(name, suffixes))
        dead = [name for name in images if not Path(folder, name).exists()]
        if dead:
            raise FileNotFoundError(
                f"{len(dead)} images in {folder} are links to files that do not exist: {_listed(dead)}; mount or "
                "restore what they lead to, or remove the links"
            )
        if not images:
            endings = Counter(Path(name).suffix or "no extension" for name in files)
            raise ValueError(
                f"no image in {folder}: expected files ending in {list(suffixes)}, found "
                f"{dict(endings) or 'no file at all'}; correct data_prefix['img_path'] or "
                "img_suffix"
            )
    return images


def files_below(folder: str) -> Iterator[str]:
    """Walk through a folder and its sub-folders, linked ones too, without what is hidden.

    Args:
        folder: The folder.

    Yields:
        Paths relative to `folder` with '/' as separator; links to nowhere are among them.

    Raises:
        PermissionError: If a sub-folder cannot be read.
        ValueError: If a linked sub-folder leads back to one that it is in.
    """
    for place, folders, files in os.walk(folder, onerror=refuse_unread, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        here = Path(place)
        for path in (here / name for name in folders):
            if path.is_symlink() and _leads_back(path, Path(folder)):
                raise ValueError(f"{path} is a link to a folder that it is in: remove it")
        for name in files:
            if not name.startswith("."):
                yield (here / name).relative_to(folder).as_posix()


def _leads_back(link: Path, folder: Path) -> bool:
    """Whether a link leads to one of the folders through which a walk from `folder` came to it."""
    goal, place = os.path.realpath(link), link.parent
    passed = [place]
    while place != folder:
        place = place.parent
        passed.append(place)
    return any(Path(os.path.realpath(path)).is_relative_to(goal) for path in passed)


def refuse_unread(error: OSError) -> NoReturn:
    """Say which folder cannot be read, where a walk would leave it out.

    Args:
        error: What reading it raised.

    Raises:
        OSError: Always, of the error's type.
    """
    raise type(error)(
        f"cannot read the folder {error.filename} ({error.strerror}): correct its permissions, mount it, or move it "
        "away"
    ) from error


def check_labels_exist(images: Sequence[str], labels: Sequence[str]) -> None:
    """Check that every image has its label file.

    Args:
        images: Image paths.
        labels: The label path of each image.

    Raises:
        FileNotFoundError: If labels are missing; names up to five and their number.
    """
    missing = [
        (image, label)
        for image, label in zip(images, labels, strict=True)
        if not Path(label).is_file()
    ]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of {len(images)} images have no label: "
            f"{_listed([image for image, _ in missing])}; expected for the first {missing[0][1]}. "
            "Correct data_prefix['seg_map_path'] or seg_map_suffix, restore the labels, or list "
            "the labeled images in ann_file"
        )


def check_sizes(images: Sequence[str], labels: Sequence[str] | None = None) -> None:
    """Check that image headers are readable, JPEG files end, and labels have the size of their images.

    Only the two ends of files are read, so that tens of thousands take seconds.

    Args:
        images: Image paths.
        labels: The label path of each image; None checks the images alone.

    Raises:
        ValueError: If a header is unreadable, a JPEG file is cut short, an image with a label is
            turned by its EXIF orientation, or sizes differ; names up to five pairs and their number.
    """
    with ThreadPoolExecutor(_HEADER_THREADS) as pool:
        headers = list(pool.map(_whole_header, images))
        if labels is None:
            return
        label_sizes = list(pool.map(stored_size, labels))
    turned = [path for path, head in zip(images, headers, strict=True) if head.orientation != 1]
    if turned:
        tag = next(head.orientation for head in headers if head.orientation != 1)
        raise ValueError(turned_message(turned, tag))
    differing = [
        f"{label} is {found[0]}x{found[1]}, its image {header.size[0]}x{header.size[1]}"
        for label, found, header in zip(labels, label_sizes, headers, strict=True)
        if found != header.size
    ]
    if differing:
        raise ValueError(
            f"{len(differing)} of {len(images)} labels have another size than their image (width x "
            f"height): {_listed(differing)}. Pair the right files, or list the good ones in "
            "ann_file"
        )


def check_label_ids(
    labels: Sequence[str],
    lookup: npt.NDArray[np.int16],
    channel: str | tuple[Color, ...] | None,
    num_samples: int,
    seed: int = 0,
) -> None:
    """Read a few labels completely, to find a wrong encoding or table early.

    Args:
        labels: Label paths.
        lookup: Raw id to train id, as `mmdrsl.datasets.label_spaces.build_lookup` makes it.
        channel: Channel that holds the ids, None for files of one channel.
        num_samples: How many labels to read; 0 reads none.
        seed: Seed of the choice, so that every start reads the same files.

    Raises:
        ValueError: If a label is unreadable, of another type, or holds unknown ids.
    """
    chosen = np.random.default_rng(seed).permutation(len(labels))[:num_samples]
    for index in sorted(chosen):
        read_train_ids(labels[index], lookup, channel)


def header_size(path: str) -> tuple[int, int]:
    """Read from an image's header which width and height in pixels `LoadImage` gives it.

    Args:
        path: The image.

    Returns:
        Width and height, upright.

    Raises:
        ValueError: As `read_header`.
    """
    with open(path, "rb") as file:
        return read_header(file, path).upright_size


def stored_size(path: str) -> tuple[int, int]:
    """Read an image's width and height in pixels from its header, whatever its EXIF orientation.

    Args:
        path: The image.

    Returns:
        Width and height.

    Raises:
        ValueError: As `read_header`.
    """
    with open(path, "rb") as file:
        return read_header(file, path).size


def _whole_header(path: str) -> ImageHeader:
    """Header of an image that does not break off."""
    with open(path, "rb") as file:
        header = read_header(file, path)
        if header.file_format in ("JPEG", "MPO"):
            check_jpeg_end(file, path)
    return header


def _find_listed(folder: str, suffixes: Sequence[str], ann_file: str) -> list[str]:
    """Find the images that a list file names, trying the suffixes and their extensions."""
    if not Path(ann_file).is_file():
        raise FileNotFoundError(f"no list file {ann_file}: correct ann_file, or leave it empty")
    try:
        lines = Path(ann_file).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"the list file {ann_file} is not UTF-8 ({error}): save it as that"
        ) from error
    parents = [Path(folder).absolute(), Path(folder).resolve()]
    names = [_inside(parents, line.strip(), ann_file) for line in lines if line.strip()]
    if not names:
        raise ValueError(f"the list file {ann_file} names no image: list one per line")
    endings = ["", *suffixes, *(Path(suffix).suffix for suffix in suffixes)]
    images, missing = [], []
    for name in names:
        candidates = (name + ending for ending in endings)
        found = next(
            (
                candidate
                for candidate in candidates
                # Of a name that no file can have it says False.
                if _has_suffix(candidate, suffixes)
                and os.path.isfile(os.path.join(folder, candidate))
            ),
            None,
        )
        if found is None:
            missing.append(name)
        else:
            images.append(found)
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of {len(names)} images of {ann_file} are not in {folder} as files "
            f"ending in {list(suffixes)}: {_listed(missing)}; correct the list, "
            "data_prefix['img_path'] or img_suffix"
        )
    repeated = [name for name, count in Counter(images).items() if count > 1]
    if repeated:
        raise ValueError(
            f"{ann_file} lists {len(repeated)} images more than once: {_listed(repeated)}; list each once"
        )
    return images


def _inside(parents: Sequence[Path], name: str, ann_file: str) -> str:
    """An entry of a list relative to the folder; results go by it, so it must not lead out of theirs."""
    path = Path(name)
    if path.is_absolute():
        parent = next((parent for parent in parents if path.is_relative_to(parent)), None)
        path = path if parent is None else path.relative_to(parent)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(
            f"{ann_file} lists {name}, which is not below {parents[0]}: list images relative to that folder, and set "
            "data_root or data_prefix['img_path'] to one that holds them all"
        )
    return path.as_posix()


def _has_suffix(name: str, suffixes: Sequence[str]) -> bool:
    """Whether a file name ends in one of the suffixes, ignoring case."""
    return name.lower().endswith(tuple(suffix.lower() for suffix in suffixes))


def _listed(names: Sequence[str]) -> str:
    """Join the first few names, saying that there are more."""
    more = ", ..." if len(names) > _MAX_LISTED else ""
    return ", ".join(name[:200] for name in names[:_MAX_LISTED]) + more
