"""A proxy target for the benchmark: CARLA's held-out runs with the look of CamVid's unlabeled images."""

import shutil

import numpy as np
import pytest
from benchmark_data import CARLA_IDS, write_benchmark, write_images, write_list
from PIL import Image

from mmdrsl.benchmark.evaluation_set import read_evaluation_set
from mmdrsl.benchmark.proxy_target import write_benchmark_proxy_target

# Four runs: frame numbers within one differ by less than sixty.
RUNS = [["000001", "000002", "000050"], ["000200", "000201"], ["000300"], ["000900", "000901"]]
HELD_OUT = ["002000", "002001"]


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
    shown = read(out / "camvid/labels/B_002000.png")
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
    with pytest.raises(ValueError, match="'frame'; expected frame numbers"):
        write_benchmark_proxy_target(data=data, out_dir=tmp_path / "b")
    (data / "carla/heldout.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"heldout\.txt"):
        write_benchmark_proxy_target(data=data, out_dir=tmp_path / "c")
