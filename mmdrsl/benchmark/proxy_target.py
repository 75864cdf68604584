"""A proxy target for the benchmark, made from its source alone: methods are chosen on it without target labels."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from mmengine.config import Config
from mmseg.registry import DATASETS
from PIL import Image
from tqdm import tqdm

from mmdrsl.datasets.label_spaces import IGNORE_INDEX, get_label_space
from mmdrsl.datasets.transforms.loading import read_train_ids
from mmdrsl.scenes.proxy_target import check_proxy_target, proxy_target_look

_WIDE_CLASSES = ("sky", "road")
_HELD_OUT = "heldout.txt"


@dataclass(frozen=True, kw_only=True)
class _Side:
    """Where one domain of a pair lies, and how its labels read.

    Attributes:
        folder: Its folder below the data.
        train: Its list of training images.
        suffix: End of the names of its images.
        lookup: Train id at each raw id, shape (256,).
    """

    folder: str
    train: str
    suffix: str
    lookup: np.ndarray


def write_benchmark_proxy_target(
    *,
    data: str | Path,
    out_dir: str | Path,
    pair: Config,
    shown: float = 0.65,
    seed: int = 5,
    progress: bool = False,
) -> Path:
    """Write a benchmark whose source is two thirds of the source's images and whose target is the rest, restyled.

    The restyled images have the look of the target's unlabeled training images, see `proxy_target_look`. With `shown`
    below 1 they show the part of the scene with the least sky and road, enlarged: classes have other shares than in
    the source. The source's held-out images play the validation images, a third of the others the unlabeled training
    images; capture runs stay whole. Odd and even frames are named as two sequences. All labels are the source's.

    Args:
        data: Data of the pair, where its config looks for them; beside the source's list of training images there is
            ``heldout.txt``.
        out_dir: New folder, laid out like `data`. The source's files, and ``weights`` in `data`, are linked.
        pair: Config of the pair, one of ``configs/_base_/pairs`` with ``benchmark``; ``benchmark.capture_step`` is the
            largest difference of frame numbers within a capture run, where there are runs.
        shown: Share of the sides that the restyled images show, in [0.1, 1].
        seed: Seed of the choice of images.
        progress: Show a progress bar.

    Returns:
        The new folder.

    Raises:
        FileNotFoundError: A part of the benchmark is missing.
        FileExistsError: The folder exists and is not empty.
        ValueError: `shown` is out of its range, or the source's images are not named by numbers.
    """
    data, out_dir = Path(data).resolve(), Path(out_dir)
    check_proxy_target(out_dir=out_dir, shown=shown)
    source, target = _sides(data, pair)
    held_out = _names(data / source.folder / _HELD_OUT)
    others = [
        name for name in _names(data / source.folder / source.train) if name not in set(held_out)
    ]
    chosen = _third(others, pair.benchmark.get("capture_step"), np.random.default_rng(seed))
    references = _names(data / target.folder / target.train)
    raw_ids = _raw_ids(target.lookup)

    linked = [f"{source.folder}/{name}" for name in ("images", "labels", "classes.json")]
    copied = (f"{target.folder}/classes.json", "common_classes.json")
    missing = [name for name in (*linked, *copied) if not (data / name).exists()]
    if missing:
        raise FileNotFoundError(
            f"{data} has no {', '.join(missing)}: expected a folder laid out as the benchmark (docs/benchmark.md)."
        )
    for folder in (source.folder, f"{target.folder}/images", f"{target.folder}/labels"):
        (out_dir / folder).mkdir(parents=True, exist_ok=True)
    # Networks from random weights need none.
    for name in (*linked, *(["weights"] if (data / "weights").exists() else [])):
        os.symlink(data / name, out_dir / name)
    for name in copied:
        (out_dir / name).write_bytes((data / name).read_bytes())
    kept = [name for name in others if name not in set(chosen)]
    (out_dir / source.folder / source.train).write_text("\n".join(kept) + "\n")
    splits = {target.train: chosen, pair.val_dataloader.dataset.ann_file: held_out}
    for split, names in splits.items():
        images = {f"{'ba'[_number(name) % 2]}_{name}": name for name in names}
        (out_dir / target.folder / split).write_text("\n".join(images) + "\n")
        for new, name in tqdm(images.items(), desc=split, unit="image", disable=not progress):
            # By frame, so that the choice of images does not change a frame's look.
            rng = np.random.default_rng([_number(name), 7])
            reference = references[rng.integers(len(references))] + target.suffix
            labels = read_train_ids(str(data / source.folder / f"labels/{name}.png"), source.lookup)
            part = _part_with_things(labels, shown, _classes_of(pair))
            image = _read(data / source.folder / f"images/{name}{source.suffix}")
            styled = proxy_target_look(
                _enlarged(image, part, cv2.INTER_LINEAR),
                _read(data / target.folder / "images" / reference),
                rng,
            )
            place = out_dir / target.folder
            Image.fromarray(styled).save(place / f"images/{new}{target.suffix}", quality=92)
            raw = raw_ids[_enlarged(labels, part, cv2.INTER_NEAREST)]
            Image.fromarray(raw).save(place / f"labels/{new}.png")
    return out_dir


def _sides(data: Path, pair: Config) -> tuple[_Side, _Side]:
    """Source and target of a pair; the target's labels are read as its validation set does."""
    entries = (pair.source_dataset, pair.val_dataloader.dataset)
    lists = (pair.source_dataset.ann_file, pair.target_dataset.ann_file)
    sides = []
    for folder, entry, train in zip(pair.benchmark.folders, entries, lists, strict=True):
        kept = {key: entry[key] for key in ("type", "label_space", "img_suffix") if key in entry}
        dataset = DATASETS.build({**kept, "data_root": str(data / folder), "lazy_init": True})
        sides.append(
            _Side(
                folder=folder,
                train=train,
                suffix=dataset.img_suffix,
                lookup=dataset.label_format["label_lookup"],
            )
        )
    return sides[0], sides[1]


def _classes_of(pair: Config) -> tuple[str, ...]:
    return get_label_space(pair.label_space).classes


def _names(path: Path) -> list[str]:
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}: expected a list of images of the benchmark")
    return path.read_text().split()


def _read(path: Path) -> np.ndarray:
    return np.array(Image.open(path).convert("RGB"))


def _number(name: str) -> int:
    """Frame number at the end of a name."""
    found = re.search(r"\d+$", name)
    if found is None:
        raise ValueError(
            f"the source has an image {name!r}; expected names that end in a frame number"
        )
    return int(found[0])


def _third(names: Sequence[str], capture_step: int | None, rng: np.random.Generator) -> list[str]:
    """Whole capture runs in random order until they hold a third of the images; without a step, single images."""
    ordered = sorted(names, key=_number)
    ends = [
        place
        for place, (first, second) in enumerate(pairwise(ordered), 1)
        if _number(second) - _number(first) > (capture_step or 0)
    ]
    runs = [ordered[begin:end] for begin, end in zip([0, *ends], [*ends, None], strict=True)]
    chosen: list[str] = []
    for number in rng.permutation(len(runs)):
        if len(chosen) >= len(names) / 3:
            break
        chosen += runs[number]
    return sorted(chosen)


def _raw_ids(lookup: np.ndarray) -> np.ndarray:
    """The first raw id that reads as each train id, one that is ignored at 255."""
    return np.array(
        [int(np.argmax(lookup == number)) for number in range(IGNORE_INDEX + 1)], np.uint8
    )


def _part_with_things(
    labels: np.ndarray, shown: float, classes: Sequence[str]
) -> tuple[slice, slice]:
    """Of twenty parts below the top of an image, the one with the least sky and road."""
    height, width = labels.shape
    rows, columns = round(height * shown), round(width * shown)
    plain = [classes.index(name) for name in _WIDE_CLASSES] + [IGNORE_INDEX]
    wanted = ~np.isin(labels, plain)
    parts = [
        (slice(round(top), round(top) + rows), slice(round(left), round(left) + columns))
        for top in np.linspace(0.15, 0.6, 4) * (height - rows)
        for left in np.linspace(0, 1, 5) * (width - columns)
    ]
    return max(parts, key=lambda part: wanted[part].mean())


def _enlarged(array: np.ndarray, part: tuple[slice, slice], interpolation: int) -> np.ndarray:
    height, width = array.shape[:2]
    return cv2.resize(array[part], (width, height), interpolation=interpolation)
