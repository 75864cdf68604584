import signal
import subprocess
import sys

import cv2
import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from run_tools import ROOT, run_tool, tool_environment

from mmdrsl.datasets.image_header import read_header

CONFIG = "configs/cycada/cycada_scenes2scenes.py"
RUN = "import os, runpy, signal, sys{}sys.argv = sys.argv[1:]\nrunpy.run_path(sys.argv[0], run_name='__main__')\n"
KILL_TRAINING = """
from mmdrsl.engine.hooks import StepSeedHook
proceed = StepSeedHook.before_train_iter

def kill(hook, runner, *args, **kwargs):
    if runner.iter == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    proceed(hook, runner, *args, **kwargs)

StepSeedHook.before_train_iter = kill
"""
KILL_EXPORT = """
from mmdrsl.translation import TranslatedFolder
proceed = TranslatedFolder.write
written = []

def kill(folder, sample_id, *args, **kwargs):
    written.append(sample_id)
    if len(written) == 6:
        os.kill(os.getpid(), signal.SIGKILL)
    return proceed(folder, sample_id, *args, **kwargs)

TranslatedFolder.write = kill
"""


def train_command(work_dir, segmentor, *flags):
    resize = dict(type="Resize", scale=(128, 64), keep_ratio=True)
    crop = dict(type="RandomCrop", crop_size=(32, 32))
    options = [
        "train_cfg.max_iters=6",
        "param_scheduler.begin=3",
        "param_scheduler.end=6",
        "model.generator.base_channels=4",
        "model.generator.num_blocks=1",
        "model.discriminator.base_channels=4",
        "model.discriminator.num_conv=2",
        "model.buffer_size=2",
        "model.semantic.begin=1",
        "model.semantic.ramp=2",
        f"model.semantic.checkpoint={segmentor}",
        "default_hooks.checkpoint.interval=2",
        "default_hooks.logger.interval=1",
        "default_hooks.samples.interval=3",
        *(
            f"train_dataloader.dataset.{domain}.pipeline.{place}.{key}={value}"
            for domain in ("source", "target")
            for place, transform in ((2, resize), (3, crop))
            for key, value in transform.items()
            if key in ("scale", "crop_size")
        ),
    ]
    options = [option.replace(" ", "") for option in options]
    return [
        sys.executable,
        "tools/train.py",
        CONFIG,
        "--work-dir",
        str(work_dir),
        *flags,
        "--cfg-options",
        *options,
    ]


def export_command(work_dir, out):
    return [
        sys.executable,
        "tools/translate_dataset.py",
        str(work_dir / "cycada_scenes2scenes.py"),
        str(work_dir / "iter_6.pth"),
        "--out",
        str(out),
    ]


def killed(program, command, scenes_root):
    done = subprocess.run(
        [command[0], "-c", RUN.format(program), *command[1:]],
        cwd=ROOT,
        env=tool_environment(scenes_root),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr[-3000:]


def files(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def segmentor(tmp_path_factory):
    """A segmentor as the config wants it, with random weights."""
    path = tmp_path_factory.mktemp("segmentor") / "segmentor.pth"
    torch.manual_seed(0)
    network = MODELS.build(Config.fromfile(ROOT / CONFIG).model.semantic.segmentor)
    torch.save(dict(state_dict=network.state_dict()), path)
    return path


@pytest.fixture(scope="module")
def whole_run(scenes_root, segmentor, tmp_path_factory):
    work_dir = tmp_path_factory.mktemp("translator") / "whole"
    run_tool(train_command(work_dir, segmentor), scenes_root)
    return work_dir


@pytest.fixture(scope="module")
def whole_export(scenes_root, whole_run, tmp_path_factory):
    out = tmp_path_factory.mktemp("translated") / "whole"
    run_tool(export_command(whole_run, out), scenes_root)
    return out


def test_training_logs_sheets_and_export_keeps_names_and_sizes(
    scenes_root, whole_run, whole_export
):
    sheets = list(whole_run.rglob("vis_image/translation_*"))
    assert len(sheets) == 2
    assert cv2.imread(str(sheets[0])).shape == (64, 96, 3)
    originals = sorted((scenes_root / "game/images").rglob("*.png"))
    translated = sorted((whole_export / "images").rglob("*.png"))
    assert [path.stem for path in translated] == [path.stem for path in originals]
    for path, original in zip(translated, originals, strict=True):
        with open(path, "rb") as new, open(original, "rb") as old:
            assert read_header(new, str(path)).size == read_header(old, str(original)).size


def test_learning_rate_falls_and_generators_moved(whole_run):
    checkpoints = torch.load(whole_run / "iter_6.pth", map_location="cpu", weights_only=False)
    assert set(checkpoints["optimizer"]) == {"generators", "discriminators"}
    for state in checkpoints["optimizer"].values():
        assert state["param_groups"][0]["lr"] < 1e-4
        assert state["param_groups"][0]["initial_lr"] == 2e-4
    names = set(checkpoints["state_dict"])
    assert {"image_buffers.source", "image_buffers.target"} <= names
    assert len(checkpoints["state_dict"]["image_buffers.target"]) == 2


@pytest.mark.slow
def test_killed_and_resumed_training_ends_the_same(scenes_root, segmentor, whole_run, tmp_path):
    work_dir = tmp_path / "killed"
    killed(KILL_TRAINING, train_command(work_dir, segmentor), scenes_root)
    assert (work_dir / "iter_4.pth").is_file()
    run_tool(train_command(work_dir, segmentor, "--resume"), scenes_root)
    expected, found = (
        torch.load(folder / "iter_6.pth", map_location="cpu", weights_only=False)
        for folder in (whole_run, work_dir)
    )
    assert expected["state_dict"].keys() == found["state_dict"].keys()
    for name, value in expected["state_dict"].items():
        assert torch.equal(value, found["state_dict"][name]), name
    for name, optimizer in expected["optimizer"].items():
        for index, state in optimizer["state"].items():
            for key, value in state.items():
                assert torch.equal(value, found["optimizer"][name]["state"][index][key])


@pytest.mark.slow
def test_killed_and_continued_export_ends_the_same(scenes_root, whole_run, whole_export, tmp_path):
    killed(KILL_EXPORT, export_command(whole_run, tmp_path / "out"), scenes_root)
    assert len(list((tmp_path / "out/images").rglob("*.png"))) == 5
    output = run_tool(export_command(whole_run, tmp_path / "out"), scenes_root)
    assert "12 images, 5 of them were there already" in output
    assert files(tmp_path / "out") == files(whole_export)
