"""A run of DAFormer on HRDA, and the same run killed in a round and resumed: both end with the same bits."""

import signal

import pytest
import torch
from run_tools import KILL_IN_A_ROUND, run_tool, train_command

OPTIONS = ("model.segmentor.type=HRDASegmentor", "model.terms.distance.weight=0.005")


def command(work_dir, flags=()):
    return train_command(
        work_dir,
        *OPTIONS,
        config="configs/daformer/deeplabv3plus_scenes2scenes.py",
        flags=flags,
    )


def weights(work_dir):
    loaded = torch.load(work_dir / "iter_10.pth", map_location="cpu", weights_only=False)
    return loaded["state_dict"]


@pytest.mark.slow
def test_killed_and_resumed_equals_uninterrupted(scenes_root, tmp_path):
    run_tool(command(tmp_path / "whole"), scenes_root)
    run_tool(
        command(tmp_path / "killed"),
        scenes_root,
        before=KILL_IN_A_ROUND,
        status=-signal.SIGKILL,
    )
    run_tool(command(tmp_path / "killed", flags=["--resume"]), scenes_root)
    expected, found = weights(tmp_path / "whole"), weights(tmp_path / "killed")
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    # The encoder as it was before the first step; the trained one has moved away.
    prefix = "terms.distance.encoder."
    first = {name.removeprefix(prefix): v for name, v in found.items() if name.startswith(prefix)}
    assert first
    still = [
        name
        for name, value in first.items()
        if name.endswith("conv1.weight") and torch.equal(value, found[f"segmentor.backbone.{name}"])
    ]
    assert still == []
