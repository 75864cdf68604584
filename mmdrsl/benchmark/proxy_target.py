"""A proxy target for the benchmark, made from its source alone: methods are chosen on it without target labels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from tqdm import tqdm

from mmdrsl.datasets.camvid import CamVidDataset
from mmdrsl.datasets.carla import CARLADataset
from mmdrsl.datasets.label_spaces import IGNORE_INDEX, build_lookup, get_label_space
from mmdrsl.datasets.transforms.loading import read_train_ids
from mmdrsl.scenes.proxy_target import check_proxy_target, proxy_target_look

_LABEL_SPACE = "street10"
_WIDE_CLASSES = ("sky", "road")
# Frames of one capture run follow each other by no more.
_LARGEST_STEP = 60


def write_benchmark_proxy_target(
    *,
    data: str | Path,
    out_dir: str | Path,
    shown: float = 0.65,
    seed: int = 5,
    progress: bool = False,
) -> Path:
    """Write a benchmark whose source is two thirds of CARLA's capture runs and whose "CamVid" is the rest, restyled.

    The restyled images have the look of CamVid's unlabeled training images, see `proxy_target_look`, and show the part
    of the scene with the least sky and road, enlarged: classes have other shares than in the source. The held-out runs
    play the validation images, a third of the others the unlabeled training images. Odd and even frames are named as
    two drives. All labels are CARLA's.

    Args:
        data: The benchmark: ``carla`` with the lists ``train`` and ``heldout``, ``camvid`` with ``train``,
            ``common_classes.json`` and ``weights``.
        out_dir: New folder, laid out like `data`. CARLA's files and the weights are linked.
        shown: Share of the sides that the restyled images show, in [0.1, 1].
        seed: Seed of the choice of runs.
        progress: Show a progress bar.

    Returns:
        The new folder.

    Raises:
        FileNotFoundError: A part of the benchmark is missing.
        FileExistsError: The folder exists and is not empty.
        ValueError: `shown` is out of its range, or CARLA's frames are not named by numbers.
    """
    data, out_dir = Path(data).resolve(), Path(out_dir)
    check_proxy_target(out_dir=out_dir, shown=shown)
    held_out = _names(data / "carla/heldout.txt")
    others = [name for name in _names(data / "carla/train.txt") if name not in set(held_out)]
    target = _third_of_runs(others, np.random.default_rng(seed))
    references = _names(data / "camvid/train.txt")
    space = get_label_space(_LABEL_SPACE)
    lookup = build_lookup(CARLADataset.TABLE, space, CARLADataset.RENAMES[_LABEL_SPACE])
    camvid_ids = _camvid_ids()

    linked = ("carla/images", "carla/labels", "carla/classes.json")
    copied = ("camvid/classes.json", "common_classes.json")
    missing = [name for name in (*linked, *copied) if not (data / name).exists()]
    if missing:
        raise FileNotFoundError(
            f"{data} has no {', '.join(missing)}: expected a folder laid out as the benchmark (docs/benchmark.md)."
        )
    for folder in ("carla", "camvid/images", "camvid/labels"):
        (out_dir / folder).mkdir(parents=True, exist_ok=True)
    # Networks from random weights need none.
    for name in (*linked, "weights"):
        os.symlink(data / name, out_dir / name)
    for name in copied:
        (out_dir / name).write_bytes((data / name).read_bytes())
    source = [name for name in others if name not in set(target)]
    (out_dir / "carla/train.txt").write_text("\n".join(source) + "\n")
    for split, names in (("train", target), ("val", held_out)):
        images = {f"{'A' if int(name) % 2 else 'B'}_{name}": name for name in names}
        (out_dir / f"camvid/{split}.txt").write_text("\n".join(images) + "\n")
        for new, name in tqdm(images.items(), desc=split, unit="image", disable=not progress):
            # By frame, so that the choice of runs does not change a frame's look.
            rng = np.random.default_rng([int(name), 7])
            reference = _read(
                data / f"camvid/images/{references[rng.integers(len(references))]}.jpg"
            )
            labels = read_train_ids(str(data / f"carla/labels/{name}.png"), lookup)
            part = _part_with_things(labels, shown)
            image = _enlarged(_read(data / f"carla/images/{name}.jpg"), part, cv2.INTER_LINEAR)
            styled = proxy_target_look(image, reference, rng)
            Image.fromarray(styled).save(out_dir / f"camvid/images/{new}.jpg", quality=92)
            raw = camvid_ids[_enlarged(labels, part, cv2.INTER_NEAREST)]
            Image.fromarray(raw).save(out_dir / f"camvid/labels/{new}.png")
    return out_dir


def _names(path: Path) -> list[str]:
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}: expected a list of images of the benchmark")
    return path.read_text().split()


def _read(path: Path) -> np.ndarray:
    return np.array(Image.open(path).convert("RGB"))


def _third_of_runs(names: Sequence[str], rng: np.random.Generator) -> list[str]:
    """Whole capture runs in random order until they hold a third of the images."""
    strangers = [name for name in names if not name.isdecimal()]
    if strangers:
        raise ValueError(
            f"carla/train.txt names {strangers[0]!r}; expected frame numbers, by which runs are told apart"
        )
    ordered = sorted(names, key=int)
    ends = [
        place
        for place, (first, second) in enumerate(pairwise(ordered), 1)
        if int(second) - int(first) > _LARGEST_STEP
    ]
    runs = [ordered[begin:end] for begin, end in zip([0, *ends], [*ends, None], strict=True)]
    chosen: list[str] = []
    for number in rng.permutation(len(runs)):
        if len(chosen) >= len(names) / 3:
            break
        chosen += runs[number]
    return sorted(chosen)


def _camvid_ids() -> np.ndarray:
    """CamVid's raw id at each train id, that of its void name at 255."""
    table, space = CamVidDataset.TABLE, get_label_space(_LABEL_SPACE)
    (void,) = (number for number, name in table.ids.items() if name in table.void)
    ids = np.full(IGNORE_INDEX + 1, void, np.uint8)
    for number, name in table.ids.items():
        renamed = CamVidDataset.RENAMES[_LABEL_SPACE].get(name)
        if renamed is not None:
            ids[space.classes.index(renamed)] = number
    return ids


def _part_with_things(labels: np.ndarray, shown: float) -> tuple[slice, slice]:
    """Of twenty parts below the top of an image, the one with the least sky and road."""
    height, width = labels.shape
    rows, columns = round(height * shown), round(width * shown)
    classes = get_label_space(_LABEL_SPACE).classes
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
