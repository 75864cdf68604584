"""The gradient of each term by itself, in real runs of a few steps."""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from short_runs import assert_equal, weights

from mmdrsl.engine.hooks.gradient_norm_hook import GradientNormHook, gradient_norms

DRSL = "configs/drsl/deeplabv3plus_scenes2scenes.py"
HOOK = dict(type="GradientNormHook", interval=2)
# All pixels labeled, so that modes have pixels to align.
OPTIONS = {
    "config": DRSL,
    "default_hooks.modes.kmeans_iteration": 1,
    "default_hooks.logger.interval": 1,
    "default_hooks.self_training.labeler.policy": dict(
        lowest_threshold=0.01, second_head="mmdl", second_weight=0.5
    ),
}


def logged(runner):
    files = sorted(Path(runner.work_dir).glob("*/vis_data/scalars.json"))
    lines = [json.loads(line) for path in files for line in path.read_text().splitlines()]
    return {
        line["step"]: {
            name.rpartition("/")[2]: value
            for name, value in line.items()
            if name.startswith("gradient_norm/")
        }
        for line in lines
        if "loss" in line
    }


def test_a_run_stays_bit_for_bit_and_logs_every_term(train, tmp_path):
    plain = train(tmp_path / "plain", **OPTIONS)
    runner = train(tmp_path / "measured", custom_hooks=[HOOK], **OPTIONS)
    assert_equal(weights(plain), weights(runner))
    found = logged(runner)
    assert not found[1]
    assert set(found[4]) == set(runner.model.terms)
    assert all(math.isfinite(value) and value > 0 for value in found[4].values())


def test_norms_are_those_of_single_backward_passes(train, tmp_path):
    runner = train(tmp_path / "run", **OPTIONS)
    model = runner.model.train()
    batch = next(iter(runner.train_dataloader))
    state = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(3)
    norms = gradient_norms(model, batch)
    assert_equal(state, model.state_dict())
    for name in model.terms:
        torch.manual_seed(3)
        model.zero_grad()
        values = model(**model.data_preprocessor(batch, True), mode="loss")
        sum(v for key, v in values.items() if key.startswith(f"{name}.loss_")).backward()
        squares = sum(
            float(weight.grad.double().square().sum())
            for weight in model.segmentor.backbone.parameters()
            if weight.grad is not None
        )
        assert norms[name] == pytest.approx(squares**0.5, rel=1e-4)


def test_heads_beside_the_warmup_have_no_gradient_there(train, tmp_path):
    runner = train(
        tmp_path / "run",
        custom_hooks=[dict(HOOK, interval=1)],
        **{**OPTIONS, "train_cfg.max_iters": 4},
    )
    first = logged(runner)[1]
    assert first["metric"] == 0
    assert first["source"] > 0


def test_it_refuses():
    with pytest.raises(ValueError, match=r"interval must be >= 1, found 0"):
        GradientNormHook(interval=0)
    plain = SimpleNamespace(model=torch.nn.Identity())
    with pytest.raises(TypeError, match=r"UDASegmentor, found a model of type Identity"):
        GradientNormHook().before_train(plain)
