"""What is read from a run of a few steps."""

from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
CONFIG = "configs/self_training/deeplabv3plus_scenes2scenes.py"


def weights(runner):
    return {name: value.clone() for name, value in runner.model.state_dict().items()}


def assert_equal(first, second):
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
