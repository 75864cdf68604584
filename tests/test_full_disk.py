"""A disk that is full: the file and a remedy are named, and nothing is cut short under its final name."""

import contextlib
import os
import resource
import signal
import subprocess

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import runner
from mmseg.registry import MODELS
from tiny_adaptor import plain_config

from mmdrsl.atomic_files import DiskFullError, remove_leftovers, replacing, write_atomically
from mmdrsl.checkpoints import read_checkpoint
from mmdrsl.engine.tool_end import writing
from mmdrsl.inference.overlay_video import replacing_video
from mmdrsl.models.segmentors.export import export_segmentor
from mmdrsl.pseudo_labels.artifact import PseudoLabelArtifact
from mmdrsl.scenes.writer import write_scenes


@contextlib.contextmanager
def files_at_most(size):
    """The kernel lets this process write no file beyond a size, in bytes."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("mounting a small file system is not allowed here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


FULL = r"The disk of .*{} is full.*Free some space"


def test_what_was_there_stays(tmp_path):
    path = tmp_path / "a.json"
    write_atomically(path, "old")
    with files_at_most(1000), pytest.raises(DiskFullError, match=FULL.format("a.json")):
        write_atomically(path, "new" * 1000)
    assert path.read_text() == "old"
    # PyTorch's writer says only that it failed.
    with (
        files_at_most(1000),
        pytest.raises(DiskFullError, match=FULL.format("a.pth")),
        replacing(tmp_path / "a.pth") as temporary,
    ):
        torch.save(torch.zeros(1000), temporary)
    assert [item.name for item in tmp_path.iterdir()] == ["a.json"]


def test_labels(tmp_path):
    artifact = PseudoLabelArtifact(tmp_path)
    with files_at_most(1000), pytest.raises(DiskFullError, match=FULL.format("city/a.png")):
        artifact.write_image("city/a", noise(64, 64), noise(64, 64), [[0, 0, 0]])
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_scenes(tmp_path):
    out = tmp_path / "scenes"
    sizes = dict(num_game=1, num_camera_train=1, num_camera_val=1, image_size=(64, 32))
    with files_at_most(500), pytest.raises(DiskFullError, match=FULL.format(r"0+1\.png")):
        write_scenes(out_dir=out, **sizes)
    assert [path for path in out.rglob("*") if path.is_file()] == []
    write_scenes(out_dir=out, **sizes)
    assert (out / "scenes.json").is_file()


def test_export(tmp_path):
    names = dict(name="own", classes=["a", "b", "c"], palette=[[0, 0, 0], [1, 1, 1], [2, 2, 2]])
    model = dict(
        type="UDASegmentor", label_space=names, data_preprocessor={}, segmentor=plain_config()
    )
    pipeline = [dict(type="LoadImage"), dict(type="PackSegInputs")]
    cfg = Config(dict(model=model, test_pipeline=pipeline))
    weights = MODELS.build(Config(plain_config())).state_dict()
    weights = {f"segmentor.{name}": value for name, value in weights.items()}
    torch.save({"state_dict": weights}, tmp_path / "iter_1.pth")
    with files_at_most(1000), pytest.raises(DiskFullError, match=FULL.format(r"segmentor\.pth")):
        export_segmentor(cfg, tmp_path / "iter_1.pth", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_checkpoint_that_the_runner_writes(tmp_path):
    """By a stock hook, or as the best one."""
    path = tmp_path / "best.pth"
    path.write_text("before")
    with files_at_most(2000), pytest.raises(DiskFullError, match=FULL.format("best.pth")):
        runner.save_checkpoint({"weights": torch.zeros(1000)}, str(path))
    assert [item.name for item in tmp_path.iterdir()] == ["best.pth"]
    assert path.read_text() == "before"
    runner.save_checkpoint({"weights": torch.zeros(1000)}, str(path))
    assert len(read_checkpoint(path)["weights"]) == 1000


def test_video(tmp_path):
    path = tmp_path / "a.mp4"

    def record():
        options = dict(rate=10, classes=("road",), palette=((1, 2, 3),))
        with replacing_video(path, **options) as write:
            for frame in noise(20, 64, 96, 3):
                write(frame)

    with files_at_most(20_000), pytest.raises(DiskFullError, match=FULL.format(r"a\.mp4")):
        record()
    assert list(tmp_path.iterdir()) == []
    record()
    assert cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FRAME_COUNT) == 20


def test_what_others_write_is_named_with_its_folder(tmp_path):
    with (
        pytest.raises(DiskFullError, match=FULL.format("run")),
        writing(tmp_path / "run", tool="train"),
        open("/dev/full", "w") as file,
    ):
        file.write("a line of a log")
    with pytest.raises(RuntimeError, match="something else"), writing(tmp_path / "run", tool="x"):
        raise RuntimeError("something else")


def test_a_real_small_disk_is_a_mount_point_too(small_disk):
    """Labels go to the root of a file system, in which a kill left something, until it is full."""
    (small_disk / "lost+found").mkdir()
    (small_disk / ".manifest.json.12-34.tmp").write_text("{")
    artifact = PseudoLabelArtifact(small_disk)
    artifact.clear()

    def fill():
        for number in range(100):
            artifact.write_image(str(number), noise(64, 64), noise(64, 64), [[0, 0, 0]])

    with pytest.raises(DiskFullError, match=FULL.format(r"\d\.png")):
        fill()
    files = [path for path in small_disk.rglob("*") if path.is_file()]
    assert files
    for path in files:
        assert cv2.imread(str(path), cv2.IMREAD_UNCHANGED).shape[:2] == (64, 64), path
    artifact.root.joinpath("manifest.json").write_text("")
    artifact.clear()
    assert [path.name for path in small_disk.iterdir()] == ["lost+found"]


def test_only_own_leftovers_are_removed(tmp_path):
    (tmp_path / "city").mkdir()
    (tmp_path / "city/.b.png.12-34.tmp").write_text("")
    for name in (".a.png.12-34.tmp", ".a.tmp", "a.12-34.tmp", ".hidden"):
        (tmp_path / name).write_text("")
    remove_leftovers(tmp_path)
    left = sorted(path.name for path in tmp_path.rglob("*") if path.is_file())
    assert left == [".a.tmp", ".hidden", "a.12-34.tmp"]
