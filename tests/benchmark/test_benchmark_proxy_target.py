"""A proxy target for the benchmark: CARLA's held-out runs with the look of CamVid's unlabeled images."""

import shutil

import numpy as np
import pytest
from benchmark_data import CARLA_IDS, write_benchmark, write_images, write_list
from PIL import Image

from mmdrsl.benchmark.evaluation_set import read_evaluation_set
from mmdrsl.benchmark.plan import CONFIGS
from mmdrsl.benchmark.proxy_target import write_benchmark_proxy_target as write_proxy_target
from mmdrsl.engine.launch import read_config

# Four runs: frame numbers within one differ by less than sixty.
RUNS = [["000001", "000002", "000050"], ["000200", "000201"], ["000300"], ["000900", "000901"]]
HELD_OUT = ["002000", "002001"]


def write_benchmark_proxy_target(pair="carla2camvid", **options):
    return write_proxy_target(pair=read_config(CONFIGS / f"_base_/pairs/{pair}.py"), **options)


@pytest.fixture
def data(tmp_path):
    root = tmp_path / "data"
    write_benchmark(root)
    names = [name for run in RUNS for name in run] + HELD_OUT
    shutil.rmtree(root / "carla/images")
    shutil.rmtree(root / "carla/labels")
    write_images(root / "carla", names, CARLA_IDS, seed=3, suffix=".jpg")
    write_list(root / "carla", "train", names)
    write_list(root / "carla", "heldout", HELD_OUT)
    # No label of the target is needed.
    shutil.rmtree(root / "camvid/labels")
    return root


def names(path):
    return path.read_text().split()


def read(path):
    return np.array(Image.open(path))


def test_runs_stay_whole_and_apart(data, tmp_path):
    out = write_benchmark_proxy_target(data=data, out_dir=tmp_path / "out")
    source = set(names(out / "carla/train.txt"))
    target = {name.split("_")[1] for name in names(out / "camvid/train.txt")}
    assert [name.split("_")[1] for name in names(out / "camvid/val.txt")] == HELD_OUT
    assert source
    assert len(target) >= 8 / 3
    assert not source & target
    assert source | target == {name for run in RUNS for name in run}
    assert all(set(run) <= source or set(run) <= target for run in RUNS)


def test_what_is_missing_is_said_before_anything_is_written(data, tmp_path):
    (data / "camvid/classes.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no camvid/classes\.json"):
        write_benchmark_proxy_target(data=data, out_dir=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_labels_are_carlas_and_pictures_are_restyled(data, tmp_path):
    out = write_benchmark_proxy_target(data=data, out_dir=tmp_path / "out", shown=1.0)
    camvid_id = np.full(256, 11)
    camvid_id[CARLA_IDS] = range(10)
    for split in ("train", "val"):
        for name in names(out / f"camvid/{split}.txt"):
            frame = name.split("_")[1]
            expected = camvid_id[read(data / f"carla/labels/{frame}.png")]
            np.testing.assert_array_equal(read(out / f"camvid/labels/{name}.png"), expected)
            before = read(data / f"carla/images/{frame}.jpg").astype(float)
            after = read(out / f"camvid/images/{name}.jpg").astype(float)
            assert after.shape == before.shape
            assert np.abs(after - before).mean() > 5
    found = read_evaluation_set(out / "camvid", "val", label_space="street10", data=out)
    assert found.images == 2


def test_the_part_shown_has_the_least_sky_and_road(data, tmp_path):
    # Sky above, road below, a building on the right of the middle.
    label = np.full((64, 96), 13, np.uint8)
    label[32:] = 7
    label[20:44, 72:] = 1
    Image.fromarray(label).save(data / "carla/labels/002000.png")
    out = write_benchmark_proxy_target(data=data, out_dir=tmp_path / "out", shown=0.5)
    shown = read(out / "camvid/labels/b_002000.png")
    assert (shown == 1).mean() == pytest.approx(24 * 24 / (32 * 48), abs=0.02)
    assert set(np.unique(shown)) == {0, 1, 3}


def test_it_is_repeatable(data, tmp_path):
    first, second = (
        write_benchmark_proxy_target(data=data, out_dir=tmp_path / name) for name in ("one", "two")
    )
    files = sorted(path.relative_to(first) for path in first.rglob("*.*") if path.is_file())
    assert len(files) > 10
    assert all((first / file).read_bytes() == (second / file).read_bytes() for file in files)


def test_what_is_wrong_is_said(data, tmp_path):
    with pytest.raises(ValueError, match=r"shown is 0\.05"):
        write_benchmark_proxy_target(data=data, out_dir=tmp_path / "a", shown=0.05)
    with pytest.raises(FileExistsError, match="take a new folder"):
        write_benchmark_proxy_target(data=data, out_dir=data)
    write_list(data / "carla", "train", ["frame", *HELD_OUT])
    with pytest.raises(ValueError, match="'frame'; expected names that end in a frame number"):
        write_benchmark_proxy_target(data=data, out_dir=tmp_path / "b")
    (data / "carla/heldout.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"heldout\.txt"):
        write_benchmark_proxy_target(data=data, out_dir=tmp_path / "c")


def test_independent_images_of_another_pair(tmp_path):
    data = tmp_path / "data"
    numbers = [f"block_{number}" for number in range(1000, 1012)]
    write_images(data / "streets", numbers, range(11), seed=3, suffix=".jpg")
    write_list(data / "streets", "train_minus_heldout", numbers[2:])
    write_list(data / "streets", "heldout", numbers[:2])
    write_images(data / "cityscapes", ["bonn_0001"], range(19), seed=4, suffix=".jpg")
    write_list(data / "cityscapes", "train", ["bonn_0001"])
    for name in ("streets/classes.json", "cityscapes/classes.json", "common_classes.json"):
        (data / name).write_text("{}")
    out = write_benchmark_proxy_target("streets2cs", data=data, out_dir=tmp_path / "out", shown=1.0)
    source = names(out / "streets/train_minus_heldout.txt")
    target = names(out / "cityscapes/train.txt")
    assert len(target) == 4
    assert sorted(source + [name.split("_", 1)[1] for name in target]) == numbers[2:]
    assert names(out / "cityscapes/val.txt") == ["b_block_1000", "a_block_1001"]
    # Cityscapes' first train id that reads as each of the eleven classes.
    train_id = np.full(256, 255)
    train_id[:11] = [0, 1, 2, 3, 5, 6, 8, 10, 11, 13, 17]
    for name in target:
        raw = read(data / f"streets/labels/{name.split('_', 1)[1]}.png")
        np.testing.assert_array_equal(read(out / f"cityscapes/labels/{name}.png"), train_id[raw])
