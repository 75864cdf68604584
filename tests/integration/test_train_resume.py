import copy
import json
import signal
import subprocess

import cv2
import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from run_tools import ROOT, run_tool, tool_environment, train_command

from mmdrsl.pseudo_labels.artifact import PseudoLabelArtifact


def weights(work_dir):
    loaded = torch.load(work_dir / "iter_20.pth", map_location="cpu", weights_only=False)
    return loaded["state_dict"]


def label_hashes(work_dir):
    return [
        PseudoLabelArtifact(work_dir / "pseudo_labels" / f"round_{number}").read_manifest().images
        for number in (1, 2, 3)
    ]


def test_run_passes_through_all_stages(uninterrupted_run):
    rounds = json.loads((uninterrupted_run / "rounds.json").read_text())
    assert sorted(rounds) == ["0", "1", "2", "3"]
    assert [rounds[key]["iteration"] for key in sorted(rounds)] == [8, 12, 16, 20]
    assert all("mIoU" in entry["metrics"] for entry in rounds.values())
    assert all(0 < rounds[key]["labels"]["coverage"] <= 1 for key in ("1", "2", "3"))
    last = json.loads((uninterrupted_run / "rounds.json").read_text())["3"]["metrics"]
    assert "IoU.road" in last


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


# Each program makes the training kill itself with SIGKILL at one exact moment, then runs the tool.
KILLED = {
    "training": """
from mmdrsl.engine.hooks import StepSeedHook
proceed = StepSeedHook.before_train_iter

def kill(hook, runner, *args, **kwargs):
    if runner.iter == 15:
        os.kill(os.getpid(), signal.SIGKILL)
    proceed(hook, runner, *args, **kwargs)

StepSeedHook.before_train_iter = kill
""",
    "labeling": """
from mmdrsl.self_training import PseudoLabelArtifact
proceed = PseudoLabelArtifact.finish

def kill(artifact, manifest):
    if manifest.round == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    proceed(artifact, manifest)

PseudoLabelArtifact.finish = kill
""",
    "checkpoint": """
import torch
proceed = torch.save

def kill(content, *args, **kwargs):
    if content["meta"]["iter"] == 6:
        os.kill(os.getpid(), signal.SIGKILL)
    proceed(content, *args, **kwargs)

torch.save = kill
""",
}
RUN = "import os, runpy, signal, sys{}sys.argv = sys.argv[1:]\nrunpy.run_path(sys.argv[0], run_name='__main__')\n"
LAST_GOOD = {"training": "iter_14.pth", "labeling": "iter_12.pth", "checkpoint": "iter_4.pth"}


@pytest.mark.slow
def test_loader_workers_change_nothing(uninterrupted_run, scenes_root, tmp_path):
    """Killed, resumed, with two loader processes: the end is that of a run without any."""
    kill_and_resume("training", tmp_path / "killed", scenes_root, "train_dataloader.num_workers=2")
    assert_same_end(uninterrupted_run, tmp_path / "killed")


# A teacher that labels, a round that starts over, a round with a learning rate of its own.
WITH_TEACHER = (
    "default_hooks.teacher.type=MeanTeacherHook",
    "default_hooks.teacher.average.type=ExponentialMovingAverage",
    "default_hooks.teacher.average.momentum=0.2",
    "default_hooks.teacher.begin=3",
    "default_hooks.self_training.label_with=teacher",
    "default_hooks.self_training.rounds.1.restart=True",
    "default_hooks.self_training.rounds.2.lr_factor=0.5",
)


def kill_and_resume(moment, work_dir, scenes_root, *options):
    program, *arguments = train_command(work_dir, *options)
    killed = subprocess.run(
        [program, "-c", RUN.format(KILLED[moment]), *arguments],
        cwd=ROOT,
        env=tool_environment(scenes_root),
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-3000:]
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


@pytest.fixture(scope="module")
def teacher_run(scenes_root, tmp_path_factory):
    work_dir = tmp_path_factory.mktemp("teacher") / "whole"
    run_tool(train_command(work_dir, *WITH_TEACHER), scenes_root)
    return work_dir


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["labeling", "training"])
def test_killed_and_resumed_with_a_teacher(moment, teacher_run, scenes_root, tmp_path):
    kill_and_resume(moment, tmp_path / "killed", scenes_root, *WITH_TEACHER)
    assert_same_end(teacher_run, tmp_path / "killed")


@pytest.mark.slow
def test_restart_labels_first_and_then_goes_back(teacher_run, scenes_root, tmp_path):
    """One step at learning rate zero after a restart leaves the weights of the warm-up."""
    work_dir = tmp_path / "still"
    still = ("default_hooks.self_training.rounds.2.restart=True", "default_hooks.modes.interval=0")
    run_tool(
        train_command(
            work_dir, *WITH_TEACHER, *still, "default_hooks.self_training.rounds.2.lr_factor=1e-30"
        ),
        scenes_root,
    )
    warmup = torch.load(work_dir / "warmup_weights.pth", weights_only=True)
    trained = weights(work_dir)
    compared = [name for name in warmup if name.endswith(("weight", "bias", "representatives"))]
    assert len(compared) > 20
    assert all(torch.equal(warmup[name], trained[name]) for name in compared)
    model_hashes = [
        PseudoLabelArtifact(work_dir / "pseudo_labels" / f"round_{number}")
        .read_manifest()
        .model_hash
        for number in (1, 2, 3)
    ]
    # Round 3's labels come from the teacher of round 2, not from the warm-up.
    assert len(set(model_hashes)) == 3
    # The copy at the restart of round 2, and rounds 2 and 3 of the other run: four steps each.
    assert weights(teacher_run)["teacher.steps"] == 9


def test_missing_labels_refuse_to_resume_inside_a_round(uninterrupted_run, scenes_root, tmp_path):
    from mmengine.fileio import copyfile

    (tmp_path / "run").mkdir()
    checkpoint = uninterrupted_run / "iter_20.pth"
    copyfile(checkpoint, tmp_path / "run" / "iter_20.pth")
    (tmp_path / "run" / "last_checkpoint").write_text(str(tmp_path / "run" / "iter_20.pth"))
    command = train_command(
        tmp_path / "run",
        "train_cfg.max_iters=24",
        "default_hooks.self_training.rounds.2.iterations=8",
        flags=["--resume"],
    )
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=tool_environment(scenes_root),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "pseudo labels are damaged" in done.stderr
    assert "round_3" in done.stderr
