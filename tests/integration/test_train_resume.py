"""A whole run of DRSL, and the same run killed at any moment and resumed: both end with the same bits."""

import copy
import json
import signal

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.fileio import copyfile
from mmseg.registry import MODELS
from run_tools import KILL_IN_A_ROUND, run_tool, train_command

from mmdrsl.pseudo_labels.artifact import PseudoLabelArtifact


def weights(work_dir):
    loaded = torch.load(work_dir / "iter_10.pth", map_location="cpu", weights_only=False)
    return loaded["state_dict"]


def label_hashes(work_dir):
    return [
        PseudoLabelArtifact(work_dir / "pseudo_labels" / f"round_{number}").read_manifest().images
        for number in (1, 2, 3)
    ]


def test_run_passes_through_all_stages(uninterrupted_run):
    rounds = json.loads((uninterrupted_run / "rounds.json").read_text())
    assert sorted(rounds) == ["0", "1", "2", "3"]
    assert [rounds[key]["iteration"] for key in sorted(rounds)] == [4, 6, 8, 10]
    assert all({"mIoU", "IoU.road"} <= entry["metrics"].keys() for entry in rounds.values())
    assert all(0 < rounds[key]["labels"]["coverage"] <= 1 for key in ("1", "2", "3"))


def test_last_checkpoint_has_the_statistics_of_the_target(uninterrupted_run, scenes_root):
    cfg = Config.fromfile(uninterrupted_run / "deeplabv3plus_scenes2scenes.py")
    model = MODELS.build(cfg.model)
    model.load_state_dict(weights(uninterrupted_run))
    files = sorted((scenes_root / "camera" / "leftImg8bit" / "train").rglob("*.png"))
    assert len(files) == 6
    images = [torch.from_numpy(cv2.imread(str(file))).permute(2, 0, 1) for file in files]
    whole = model.data_preprocessor(dict(inputs=images, data_samples=[]), False)["inputs"]
    segmentor = copy.deepcopy(model.segmentor)
    segmentor.forward = lambda batch: segmentor.decode_head(segmentor.extract_feat(batch))
    torch.optim.swa_utils.update_bn([whole], segmentor)
    statistics = [name for name in segmentor.state_dict() if "running" in name]
    assert statistics
    for name in statistics:
        expected, found = segmentor.state_dict()[name], model.segmentor.state_dict()[name]
        assert torch.allclose(found, expected, rtol=1e-4, atol=1e-5), name


def test_monitors_of_the_modes_are_logged(uninterrupted_run):
    (path,) = uninterrupted_run.glob("*/vis_data/scalars.json")
    names = {name for line in path.read_text().splitlines() for name in json.loads(line)}
    found = {name.removeprefix("modes/") for name in names if name.startswith("modes/")}
    assert {
        "usage_entropy",
        "within_variance_source",
        "within_variance_target",
        "centroid_gap",
        "agreement_source",
        "agreement_target",
        "kept_share",
    } <= found
    assert any(name.startswith("kept_share.") for name in found)
    assert any(name.startswith("centroid_gap.") for name in found)
    assert not any("loss" in name for name in found)


# Each program makes the training kill itself with SIGKILL at one exact moment.
KILLED = {
    "training": KILL_IN_A_ROUND,
    "labeling": """
import os, signal
from mmdrsl.pseudo_labels import PseudoLabelArtifact
proceed = PseudoLabelArtifact.finish

def kill(artifact, manifest):
    if manifest.round == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    proceed(artifact, manifest)

PseudoLabelArtifact.finish = kill
""",
    "checkpoint": """
import os, signal
import torch
proceed = torch.save

def kill(content, *args, **kwargs):
    if content["meta"]["iter"] == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    proceed(content, *args, **kwargs)

torch.save = kill
""",
}
LAST_GOOD = {"training": "iter_7.pth", "labeling": "iter_6.pth", "checkpoint": "iter_2.pth"}


def kill_and_resume(moment, work_dir, scenes_root, *options):
    command = train_command(work_dir, *options)
    run_tool(command, scenes_root, before=KILLED[moment], status=-signal.SIGKILL)
    # With one checkpoint kept, the last good one is there and named.
    assert (work_dir / "last_checkpoint").read_text() == str(work_dir / LAST_GOOD[moment])
    assert (work_dir / LAST_GOOD[moment]).is_file()
    run_tool(train_command(work_dir, *options, flags=["--resume"]), scenes_root)


def assert_same_end(whole, work_dir):
    expected, found = weights(whole), weights(work_dir)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert label_hashes(whole) == label_hashes(work_dir)
    records = [json.loads((folder / "rounds.json").read_text()) for folder in (whole, work_dir)]
    assert records[0] == records[1]


@pytest.mark.parametrize("moment", sorted(KILLED))
def test_killed_and_resumed_equals_uninterrupted(moment, uninterrupted_run, scenes_root, tmp_path):
    kill_and_resume(moment, tmp_path / "killed", scenes_root)
    assert_same_end(uninterrupted_run, tmp_path / "killed")


# Kills the training where it touches a file of its folder for the so many-th time after the beginning of a step.
KILL_AT_A_FILE = """
import os, signal, sys
from mmdrsl.engine.hooks import StepSeedHook
proceed, process, left = StepSeedHook.before_train_iter, os.getpid(), None

def begin(hook, runner, *args, **kwargs):
    global left
    if runner.iter == {step} and left is None:
        left = {touches}
    proceed(hook, runner, *args, **kwargs)

def watch(event, arguments):
    global left
    if left is None or event not in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir"):
        return
    # Loader processes inherit this.
    if os.getpid() == process and str(arguments[0]).startswith({folder!r}):
        left -= 1
        if left == 0:
            os.kill(process, signal.SIGKILL)

StepSeedHook.before_train_iter = begin
sys.addaudithook(watch)
"""
# Two points in the fast tier, twenty in all.
RANDOM_POINTS = [
    pytest.param(seed, marks=[] if seed < 2 else pytest.mark.slow) for seed in range(20)
]


@pytest.mark.parametrize("seed", RANDOM_POINTS)
def test_killed_at_a_random_point(seed, uninterrupted_run, scenes_root, tmp_path):
    """With two loader processes; the end is that of a run without any, and nothing else is left."""
    generator = np.random.default_rng(seed)
    step, touches = int(generator.integers(9)), int(generator.integers(1, 13))
    work_dir = tmp_path / "killed"
    options = ("train_dataloader.num_workers=2",)
    before = KILL_AT_A_FILE.format(step=step, touches=touches, folder=str(work_dir))
    command = train_command(work_dir, *options)
    run_tool(command, scenes_root, before=before, status=-signal.SIGKILL)
    run_tool(train_command(work_dir, *options, flags=["--resume"]), scenes_root)
    assert_same_end(uninterrupted_run, work_dir)
    assert [path.name for path in work_dir.glob("*.pth")] == ["iter_10.pth"]
    hidden = [path for path in work_dir.rglob(".*") if path.name != ".lock"]
    assert hidden == []


@pytest.mark.slow
def test_loader_workers_change_nothing(uninterrupted_run, scenes_root, tmp_path):
    """Killed, resumed, with two loader processes: the end is that of a run without any."""
    kill_and_resume("training", tmp_path / "killed", scenes_root, "train_dataloader.num_workers=2")
    assert_same_end(uninterrupted_run, tmp_path / "killed")


# A faster average that begins inside the warm-up and neither labels nor predicts.
OTHER_TEACHER = (
    "default_hooks.teacher.average.momentum=0.2",
    "default_hooks.teacher.begin=3",
    "default_hooks.teacher.evaluate=False",
    "default_hooks.self_training.label_with=student",
)


@pytest.fixture(scope="module")
def other_teacher_run(scenes_root, tmp_path_factory):
    work_dir = tmp_path_factory.mktemp("teacher") / "whole"
    run_tool(train_command(work_dir, *OTHER_TEACHER), scenes_root)
    return work_dir


@pytest.mark.slow
@pytest.mark.parametrize("moment", sorted(KILLED))
def test_killed_and_resumed_with_another_teacher(moment, other_teacher_run, scenes_root, tmp_path):
    kill_and_resume(moment, tmp_path / "killed", scenes_root, *OTHER_TEACHER)
    assert_same_end(other_teacher_run, tmp_path / "killed")


@pytest.mark.slow
def test_one_mode_per_class_trains(scenes_root, tmp_path):
    run_tool(train_command(tmp_path, "model.heads.mmdl.num_modes=1"), scenes_root)
    found = weights(tmp_path)
    assert found["heads.mmdl.representatives"].shape[1] == 1
    assert all(value.isfinite().all() for value in found.values())


def test_missing_labels_refuse_to_resume_inside_a_round(uninterrupted_run, scenes_root, tmp_path):
    copyfile(uninterrupted_run / "iter_10.pth", tmp_path / "iter_10.pth")
    (tmp_path / "last_checkpoint").write_text(str(tmp_path / "iter_10.pth"))
    longer = ("train_cfg.max_iters=12", "default_hooks.self_training.rounds.2.iterations=4")
    command = train_command(tmp_path, *longer, flags=["--resume"])
    output = run_tool(command, scenes_root, status=1)
    assert "pseudo labels are damaged" in output
    assert "round_3" in output
