"""A tiny data set in the layout of the benchmark, of colored blocks: no image of the real one."""

import json

import cv2
import numpy as np

SIZE = (64, 96)
COMMON = [
    "sky",
    "building",
    "pole",
    "road",
    "sidewalk",
    "vegetation",
    "sign_or_light",
    "fence",
    "car",
    "person",
]
_CAMVID = "Sky Building Pole Road Pavement Tree SignSymbol Fence Car Pedestrian Bicyclist Unlabeled"
CAMVID = dict(enumerate(_CAMVID.split(" ")))
# Ids of CARLA's tags for sky, building, pole, road, sidewalk, vegetation, sign, fence, vehicle, person.
CARLA_IDS = [13, 1, 5, 7, 8, 9, 12, 2, 10, 4]


def write_images(folder, names, ids, *, seed, suffix, tint=0):
    """Blocks of random classes; the color of a block follows from its class."""
    generator = np.random.default_rng(seed)
    palette = np.random.default_rng(5).integers(0, 200, (len(ids), 3))
    for sub in ("images", "labels"):
        (folder / sub).mkdir(parents=True, exist_ok=True)
    for name in names:
        classes = generator.integers(0, len(ids), (SIZE[0] // 16, SIZE[1] // 16))
        classes = classes.repeat(16, 0).repeat(16, 1)
        image = palette[classes] + tint + generator.integers(0, 20, (*SIZE, 1))
        cv2.imwrite(
            str(folder / "images" / f"{name}{suffix}"), np.clip(image, 0, 255).astype(np.uint8)
        )
        cv2.imwrite(str(folder / "labels" / f"{name}.png"), np.asarray(ids, np.uint8)[classes])


def write_list(folder, split, names):
    (folder / f"{split}.txt").write_text("\n".join(names) + "\n")


def write_benchmark(root):
    """``carla`` with six images, ``camvid`` with four to adapt to and four of two sequences to evaluate on."""
    common = {"ids": {str(number): name for number, name in enumerate(COMMON)}, "ignore": 255}
    root.mkdir(parents=True)
    (root / "common_classes.json").write_text(json.dumps(common))
    names = [f"c{index:03d}" for index in range(6)]
    write_images(root / "carla", names, CARLA_IDS, seed=0, suffix=".jpg")
    write_list(root / "carla", "train", names)
    (root / "carla/classes.json").write_text("{}")
    train = [f"0001TP_{index:05d}" for index in range(4)]
    val = ["0016E5_00001", "0016E5_00002", "0006R0_00001", "0006R0_00002"]
    write_images(root / "camvid", [*train, *val], list(range(10)), seed=1, suffix=".jpg", tint=30)
    write_list(root / "camvid", "train", train)
    write_list(root / "camvid", "val", val)
    write_classes(root / "camvid")
    return root


def write_classes(folder, *, ids=None, to_common=None, **more):
    ids = CAMVID if ids is None else ids
    if to_common is None:
        to_common = {number: number if number < 10 else 255 for number in ids}
    content = {
        "ids": {str(key): value for key, value in ids.items()},
        "to_common": {str(key): value for key, value in to_common.items()},
        **more,
    }
    (folder / "classes.json").write_text(json.dumps(content))
