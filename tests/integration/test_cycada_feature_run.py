"""A term with state beside pseudo labels: CyCADA's gate follows the rounds, killed and resumed too."""

import signal

import pytest
import torch
from run_tools import KILL_IN_A_ROUND, ROOT, run_tool, train_command

CONFIG = """
_base_ = [{base!r}]
model = dict(
    discriminators=dict(scores=dict(type="DomainDiscriminator", hidden_channels=(8, 8))),
    # Any accuracy but zero opens this gate.
    terms=dict(adaptation=dict(type="FeatureAdaptationTerm", gate=dict(threshold=0.0))),
)
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "feature_and_labels.py"
    base = str(ROOT / "configs/self_training/deeplabv3plus_scenes2scenes.py")
    path.write_text(CONFIG.format(base=base))
    return path


@pytest.fixture(scope="module")
def whole_run(scenes_root, config, tmp_path_factory):
    work_dir = tmp_path_factory.mktemp("feature") / "whole"
    return work_dir, run_tool(train_command(work_dir, config=config), scenes_root)


def state_of(work_dir):
    loaded = torch.load(work_dir / "iter_10.pth", map_location="cpu", weights_only=False)
    return loaded["state_dict"]


def test_both_losses_train_and_the_gate_follows_the_rounds(whole_run):
    work_dir, output = whole_run
    state = state_of(work_dir)
    # Six steps of the rounds; the warm-up has no target.
    assert state["terms.adaptation.gate.count"] == 6
    accuracies = state["terms.adaptation.gate.accuracies"]
    assert ((accuracies[:6] > 0) & (accuracies[:6] <= 1)).all()
    assert (accuracies[6:] == 0).all()
    for name in ("target.loss_ce", "adaptation.loss_adversarial", "adaptation.rolling_accuracy"):
        assert f" {name}: " in output
    assert any(name.startswith("discriminators.scores.") for name in state)


@pytest.mark.slow
def test_killed_and_resumed_equals_uninterrupted(whole_run, config, scenes_root, tmp_path):
    command = train_command(tmp_path, config=config)
    run_tool(command, scenes_root, before=KILL_IN_A_ROUND, status=-signal.SIGKILL)
    run_tool(train_command(tmp_path, config=config, flags=["--resume"]), scenes_root)
    expected, found = state_of(whole_run[0]), state_of(tmp_path)
    assert expected.keys() == found.keys()
    assert all(torch.equal(value, found[name]) for name, value in expected.items())
