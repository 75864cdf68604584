"""Damaged and mistaken files in every published format: an error that names the file, never a wrong id."""

import io
import zlib
from collections import Counter

import cv2
import numpy as np
import pytest
from PIL import Image

from mmdrsl.datasets.cityscapes import CityscapesTrainIdsDataset
from mmdrsl.datasets.gta5 import GTA5Dataset
from mmdrsl.datasets.kitti import KITTIDataset
from mmdrsl.datasets.synthia import SYNTHIADataset
from mmdrsl.datasets.unlabeled import UnlabelledDataset

SHAPE = (24, 40)
# The first of four in the fast tier.
SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 4))]
# Serializing a sample list collects all garbage of the process, which is slow.
OPTIONS = dict(
    pipeline=[dict(type="LoadImage"), dict(type="LoadLabels")],
    test_mode=True,
    serialize_data=False,
)


def png(pixels):
    return cv2.imencode(".png", pixels)[1].tobytes()


def pillow_png(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()


def palette_png(ids):
    image = Image.fromarray(ids)
    image.putpalette([(91 * value + 3) % 256 for value in range(768)])
    return pillow_png(image)


def synthia_png(ids):
    others = np.full(ids.shape, 4321, dtype=np.uint16)
    return png(np.dstack([others, others, ids.astype(np.uint16)]))


# Dataset, its image and label file, how its labels are written, and ids that it knows.
FORMATS = {
    "gta5": (GTA5Dataset, "images/1.png", "labels/1.png", palette_png, (7, 34)),
    "synthia": (SYNTHIADataset, "RGB/1.png", "GT/LABELS/1.png", synthia_png, (1, 13)),
    "kitti": (KITTIDataset, "training/image_2/1.png", "training/semantic/1.png", png, (7, 34)),
    "train ids": (
        CityscapesTrainIdsDataset,
        "leftImg8bit/train/a/1_leftImg8bit.png",
        "gtFine/train/a/1_gtFine_labelTrainIds.png",
        png,
        (0, 19),
    ),
}

# Each takes the right file, its pixels and a generator, and returns a wrong file.
DAMAGES = {
    "empty": lambda data, pixels, generator: b"",
    "truncated": lambda data, pixels, generator: data[: generator.integers(1, len(data) - 12)],
    "end missing": lambda data, pixels, generator: data[: -int(generator.integers(1, 12))],
    "byte flipped": lambda data, pixels, generator: flip(data, generator),
    "text": lambda data, pixels, generator: (
        b"<html>404 Not Found</html>" * generator.integers(1, 9)
    ),
    "noise": lambda data, pixels, generator: generator.bytes(500),
    "1-bit": lambda data, pixels, generator: pillow_png(
        Image.fromarray(generator.random(SHAPE) < 0.5)
    ),
    "16-bit gray": lambda data, pixels, generator: png(
        generator.integers(0, 2**16, SHAPE, dtype=np.uint16)
    ),
    "alpha": lambda data, pixels, generator: png(
        generator.integers(0, 256, (*SHAPE, 4), dtype=np.uint8)
    ),
    "wide": lambda data, pixels, generator: png(np.full((2, 30_000), 8, np.uint8)),
}
LABEL_DAMAGES = {
    **DAMAGES,
    "wrong size": lambda data, pixels, generator: palette_or_gray(pixels[:-1]),
    "jpeg": lambda data, pixels, generator: cv2.imencode(".jpg", pixels)[1].tobytes(),
    "colored": lambda data, pixels, generator: png(
        generator.integers(0, 256, (*SHAPE, 3), dtype=np.uint8)
    ),
    "2-bit gray": lambda data, pixels, generator: two_bit_gray(generator),
    "unknown id": lambda data, pixels, generator: None,
}


def flip(data, generator):
    """Change one bit anywhere but in the eight bytes that only say that the file is a PNG."""
    damaged = bytearray(data)
    damaged[generator.integers(8, len(data))] ^= 1 << generator.integers(8)
    return bytes(damaged)


def palette_or_gray(pixels):
    return png(pixels) if pixels.dtype == np.uint8 else synthia_png(pixels)


def two_bit_gray(generator):
    """Cut from Pillow's palette writer: the color type byte set to gray, the palette left out."""
    indices = generator.integers(0, 4, SHAPE, dtype=np.uint8)
    rows = np.packbits(np.stack([indices >> 1, indices & 1], -1).reshape(SHAPE[0], -1), axis=1)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)

    def chunk(kind, content):
        body = kind + content
        return len(content).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")

    header = SHAPE[1].to_bytes(4, "big") + SHAPE[0].to_bytes(4, "big") + bytes([2, 0, 0, 0, 0])
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(raw))
        + chunk(b"IEND", b"")
    )


def write(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def right_files(root, name, generator):
    """A correct pair; its dataset reads it, so that an error comes from the damage alone."""
    dataset_type, image, label, save, id_range = FORMATS[name]
    ids = generator.integers(*id_range, SHAPE).astype(np.uint16 if name == "synthia" else np.uint8)
    write(root / image, png(generator.integers(0, 256, (*SHAPE, 3), dtype=np.uint8)))
    write(root / label, save(ids))
    dataset = dataset_type(data_root=str(root), **OPTIONS)
    assert dataset[0]["gt_seg_map"].shape == SHAPE
    return dataset_type, root / image, root / label, save, ids


def expect_error(dataset_type, path, **options):
    """Both the checks before training and, without them, loading refuse the file by name."""
    for check in (True, False):
        with pytest.raises(ValueError, match=path.name) as caught:
            dataset_type(check=check, **options)[0]
        assert len(str(caught.value)) > 40


FILES = Counter()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("damage", LABEL_DAMAGES)
@pytest.mark.parametrize("name", FORMATS)
def test_damaged_labels(tmp_path, name, damage, seed):
    generator = np.random.default_rng([seed, *damage.encode()])
    root = tmp_path / str(seed)
    dataset_type, _, label, save, ids = right_files(root, name, generator)
    if damage == "unknown id":
        # One pixel; 99 is in no table, and beyond 8 bits only the exact value must not wrap.
        ids[tuple(generator.integers(0, SHAPE))] = 99 if ids.dtype == np.uint8 else 257
        data = save(ids)
    else:
        data = LABEL_DAMAGES[damage](label.read_bytes(), ids, generator)
    label.write_bytes(data)
    expect_error(dataset_type, label, data_root=str(root), **OPTIONS)
    FILES["label"] += 1


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["gta5", "kitti"])
def test_damaged_images(tmp_path, name, damage, seed):
    generator = np.random.default_rng([seed, 1, *damage.encode()])
    root = tmp_path / str(seed)
    dataset_type, image, _, _, _ = right_files(root, name, generator)
    image.write_bytes(DAMAGES[damage](image.read_bytes(), None, generator))
    expect_error(dataset_type, image, data_root=str(root), **OPTIONS)
    FILES["image"] += 1


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_unlabeled_images(tmp_path, damage, seed):
    generator = np.random.default_rng([seed, 2, *damage.encode()])
    path = tmp_path / str(seed) / f"frame_{seed}.png"
    pixels = generator.integers(0, 256, (*SHAPE, 3), dtype=np.uint8)
    write(path, DAMAGES[damage](png(pixels), None, generator))
    options = {**OPTIONS, "pipeline": [dict(type="LoadImage")]}
    expect_error(UnlabelledDataset, path, data_root=str(path.parent), **options)
    FILES["unlabeled"] += 1


def test_there_were_enough_files():
    if set(FILES) != {"label", "image", "unlabeled"}:
        pytest.skip("only some of the tests of this file ran")
    assert FILES.total() >= 90
