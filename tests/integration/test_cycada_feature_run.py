"""Feature adaptation beside pseudo labels, in a run with a round that starts over; killed and resumed."""

import signal
import subprocess

import pytest
import torch
from run_tools import ROOT, run_tool, tool_environment, train_command

CONFIG = """
_base_ = [{root!r} + "/configs/self_training/deeplabv3plus_scenes2scenes.py",
          {root!r} + "/configs/_base_/methods/cycada_feature.py"]
model = dict(
    discriminators=dict(scores=dict(_base_.score_discriminator, in_channels=19)),
    terms=dict(adaptation=_base_.cycada_feature_terms["adaptation"]),
)
"""
OPTIONS = ["default_hooks.self_training.rounds.1.restart=True"]
KILL = """
import os, runpy, signal, sys
from mmdrsl.engine.hooks import StepSeedHook
proceed = StepSeedHook.before_train_iter

def kill(hook, runner, *args, **kwargs):
    if runner.iter == 15:
        os.kill(os.getpid(), signal.SIGKILL)
    proceed(hook, runner, *args, **kwargs)

StepSeedHook.before_train_iter = kill
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def command_of(tmp_path_factory):
    config = tmp_path_factory.mktemp("config") / "feature_and_labels.py"
    config.write_text(CONFIG.format(root=str(ROOT)))

    def command(work_dir, *flags):
        whole = train_command(work_dir, *OPTIONS, config=str(config), flags=flags)
        return [part for part in whole if "default_hooks.modes" not in part]

    return command


@pytest.fixture(scope="module")
def whole_run(scenes_root, command_of, tmp_path_factory):
    work_dir = tmp_path_factory.mktemp("feature") / "whole"
    output = run_tool(command_of(work_dir), scenes_root)
    return work_dir, output


def state_of(work_dir):
    loaded = torch.load(work_dir / "iter_20.pth", map_location="cpu", weights_only=False)
    return loaded["state_dict"]


def test_both_losses_train_and_the_gate_follows_the_rounds(whole_run):
    work_dir, output = whole_run
    state = state_of(work_dir)
    # Two rounds of four steps since the restart, which took the gate back, too.
    assert state["terms.adaptation.gate.count"] == 8
    accuracies = state["terms.adaptation.gate.accuracies"]
    assert ((accuracies[:8] >= 0) & (accuracies[:8] <= 1)).all()
    assert (accuracies[8:] == 0).all()
    for name in ("target.loss_ce", "adaptation.loss_adversarial", "adaptation.rolling_accuracy"):
        assert f" {name}: " in output
    assert any(name.startswith("discriminators.scores.") for name in state)


@pytest.mark.slow
def test_killed_and_resumed_equals_uninterrupted(whole_run, command_of, scenes_root, tmp_path):
    work_dir = tmp_path / "killed"
    program, *arguments = command_of(work_dir)
    killed = subprocess.run(
        [program, "-c", KILL, *arguments],
        cwd=ROOT,
        env=tool_environment(scenes_root),
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-3000:]
    run_tool(command_of(work_dir, "--resume"), scenes_root)
    expected, found = state_of(whole_run[0]), state_of(work_dir)
    assert expected.keys() == found.keys()
    assert all(torch.equal(value, found[name]) for name, value in expected.items())
