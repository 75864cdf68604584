import importlib.util
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from mmdrsl.datasets.cityscapes import CityscapesTrainIdsDataset
from mmdrsl.datasets.conversion import resized
from mmdrsl.datasets.gta5 import GTA5TrainIdsDataset
from mmdrsl.datasets.kitti import KITTITrainIdsDataset
from mmdrsl.datasets.synthia import SYNTHIATrainIdsDataset

ROOT = Path(__file__).resolve().parents[2]
SHAPE = (40, 64)
LAYOUTS = {
    "gta5": (GTA5TrainIdsDataset, "images/{}.png", "labels/{}.png"),
    "synthia": (SYNTHIATrainIdsDataset, "RGB/{}.png", "GT/LABELS/{}.png"),
    "kitti": (KITTITrainIdsDataset, "training/image_2/{}.png", "training/semantic/{}.png"),
    "cityscapes": (
        CityscapesTrainIdsDataset,
        "leftImg8bit/train/a/{}_leftImg8bit.png",
        "gtFine/train/a/{}_gtFine_labelIds.png",
    ),
}
# Published id, then train id of Cityscapes, typed apart from the tables.
ROAD_AND_CAR = {"gta5": {7: 0, 26: 13, 34: 255}, "synthia": {3: 0, 8: 13, 22: 255}}


def run(name, *arguments):
    path = ROOT / "tools/dataset_converters" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"{name}_converter", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main([str(argument) for argument in arguments])


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), pixels)


def make(root, name, count=3):
    """Write a small set; return the train ids that its labels mean."""
    _, image, label = LAYOUTS[name]
    ids = ROAD_AND_CAR.get(name, ROAD_AND_CAR["gta5"])
    if name in ("kitti", "cityscapes"):
        ids = {7: 0, 26: 13, 0: 255}
    expected = []
    for index in range(count):
        generator = np.random.default_rng(index)
        write(root / image.format(index), generator.integers(0, 256, (*SHAPE, 3), dtype=np.uint8))
        # Blocks of eight pixels, so that halving the size keeps ids exact.
        choice = (
            generator.integers(3, size=(SHAPE[0] // 8, SHAPE[1] // 8)).repeat(8, 0).repeat(8, 1)
        )
        raw = np.array(list(ids), np.uint8)[choice]
        expected.append(np.array(list(ids.values()), np.uint8)[choice])
        if name == "synthia":
            others = np.full(SHAPE, 777, np.uint16)
            write(root / label.format(index), np.dstack([others, others, raw.astype(np.uint16)]))
        elif name == "gta5":
            (root / label.format(index)).parent.mkdir(parents=True, exist_ok=True)
            picture = Image.fromarray(raw)
            picture.putpalette([(7 * value) % 256 for value in range(768)])
            picture.save(root / label.format(index))
        else:
            write(root / label.format(index), raw)
    return expected


def load(name, root, **options):
    dataset = LAYOUTS[name][0](
        data_root=str(root),
        label_space="cityscapes19",
        pipeline=[dict(type="LoadImage"), dict(type="LoadLabels")],
        **options,
    )
    return [dataset[index] for index in range(len(dataset))]


@pytest.mark.parametrize("name", LAYOUTS)
def test_labels_beside_the_published_ones(tmp_path, name, capsys):
    expected = make(tmp_path, name)
    assert run(name, tmp_path) == 0
    assert "3 pairs converted, 0 were there" in capsys.readouterr().out
    for item, label in zip(load(name, tmp_path), expected, strict=True):
        np.testing.assert_array_equal(item["gt_seg_map"], label)
    stats = json.loads((tmp_path / "sample_class_stats.json").read_text())
    assert [entry.get("13", 0) for entry in stats] == [int((e == 13).sum()) for e in expected]
    with_class = json.loads((tmp_path / "samples_with_class.json").read_text())
    assert [number for _, number in with_class["0"]] == [int((e == 0).sum()) for e in expected]
    assert all(Path(path).is_file() for path, _ in with_class["0"])


@pytest.mark.parametrize("name", ["gta5", "synthia", "cityscapes"])
@pytest.mark.parametrize("quality", [None, 90])
def test_smaller_images(tmp_path, name, quality):
    expected = make(tmp_path / "raw", name)
    options = ["--out", tmp_path / "small", "--height", 20]
    options += [] if quality is None else ["--jpeg-quality", quality]
    assert run(name, tmp_path / "raw", *options) == 0
    suffix = {"cityscapes": "_leftImg8bit"}.get(name, "") + (".png" if quality is None else ".jpg")
    for item, label in zip(
        load(name, tmp_path / "small", img_suffix=suffix), expected, strict=True
    ):
        assert item["img"].shape == (20, 32, 3)
        np.testing.assert_array_equal(item["gt_seg_map"], label[::2, ::2])
    assert not list((tmp_path / "raw").rglob("*_labelTrainIds.png"))
    assert not list(tmp_path.rglob(".*"))


def test_an_interrupted_conversion_continues(tmp_path, capsys):
    expected = make(tmp_path / "raw", "gta5", count=4)
    out = ["--out", tmp_path / "out"]
    assert run("gta5", tmp_path / "raw", *out) == 0
    labels = sorted((tmp_path / "out/labels").iterdir())
    labels[0].unlink()
    labels[1].write_bytes(labels[1].read_bytes()[:-9])
    (tmp_path / "out/images/2.png").unlink()
    untouched = labels[3].stat().st_mtime_ns
    capsys.readouterr()
    assert run("gta5", tmp_path / "raw", *out) == 0
    assert "3 pairs converted, 1 were there" in capsys.readouterr().out
    assert labels[3].stat().st_mtime_ns == untouched
    for item, label in zip(load("gta5", tmp_path / "out"), expected, strict=True):
        np.testing.assert_array_equal(item["gt_seg_map"], label)
    # A label that reads well but is wrong is found on demand.
    write(labels[3], np.zeros(SHAPE, np.uint8))
    assert run("gta5", tmp_path / "raw", *out) == 0
    assert "0 pairs converted, 4 were there" in capsys.readouterr().out
    assert run("gta5", tmp_path / "raw", *out, "--verify") == 0
    assert "1 pairs converted, 3 were there" in capsys.readouterr().out
    np.testing.assert_array_equal(load("gta5", tmp_path / "out")[3]["gt_seg_map"], expected[3])
    # A published image that was replaced.
    image = np.full((*SHAPE, 3), 77, np.uint8)
    write(tmp_path / "raw/images/0.png", image)
    later = labels[0].stat().st_mtime + 10
    os.utime(tmp_path / "raw/images/0.png", (later, later))
    assert run("gta5", tmp_path / "raw", *out) == 0
    assert "1 pairs converted, 3 were there" in capsys.readouterr().out
    np.testing.assert_array_equal(load("gta5", tmp_path / "out")[0]["img"], image)


def test_a_thin_image_keeps_a_pixel():
    thin = np.arange(200, dtype=np.uint8).reshape(200, 1)
    assert resized(thin, 20, cv2.INTER_NEAREST).shape == (20, 1)


def test_broken_files_are_named_and_the_others_converted(tmp_path, capsys):
    make(tmp_path, "kitti", count=4)
    _, image, label = LAYOUTS["kitti"]
    (tmp_path / label.format(0)).unlink()
    write(tmp_path / label.format(1), np.full(SHAPE, 77, np.uint8))
    write(tmp_path / image.format(2), np.zeros((9, 9, 3), np.uint8))
    assert run("kitti", tmp_path) == 1
    output = capsys.readouterr()
    assert "1 pairs converted" in output.out
    for name, text in (("0.png", "no file"), ("1.png", "77"), ("2.png", "another size")):
        assert any(name in line and text in line for line in output.err.splitlines())


def test_command_errors(tmp_path, capsys):
    make(tmp_path / "raw", "gta5", count=1)
    for arguments, message in (
        (["--height", 20], "give --out"),
        (["--out", tmp_path / "raw"], "published set itself"),
        (["--out", tmp_path / "o", "--jpeg-quality", 0], "expected 1..100"),
    ):
        assert run("gta5", tmp_path / "raw", *arguments) == 2
        assert message in capsys.readouterr().err
    assert run("gta5", tmp_path / "raw", "--out", tmp_path / "out") == 0
    assert run("gta5", tmp_path / "raw", "--out", tmp_path / "out", "--height", 20) == 2
    assert "name another folder" in capsys.readouterr().err
    assert run("gta5", tmp_path / "nowhere") == 2
    assert "nowhere" in capsys.readouterr().err
