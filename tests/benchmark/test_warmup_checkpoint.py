"""One warm-up with the heads of several methods leaves each what a warm-up of its own would have."""

import copy
import math
from collections import OrderedDict

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import LinearLR, PolyLR, build_optim_wrapper
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS
from training_steps import labeled_batch

import mmdrsl  # noqa: F401 - registers what the configs name
from mmdrsl.benchmark.networks import use_network
from mmdrsl.benchmark.plan import CONFIGS
from mmdrsl.benchmark.warmup import joined_warmup, warmup_config
from mmdrsl.benchmark.warmup_checkpoint import write_part
from mmdrsl.engine.launch import read_config

SMALL = "deeplabv3plus_small"
# Without heads, with one or two, with discriminators, with a term that has a state.
METHODS = ("source_only", "drsl", "adaptsegnet", "advent", "minent", "cycada_feature")


@pytest.fixture(scope="module")
def own_configs():
    configs = {}
    for name in METHODS:
        cfg = read_config(CONFIGS / name / "deeplabv3plus_carla2camvid.py")
        use_network(cfg, SMALL, configs=CONFIGS, usual=SMALL)
        # No model that the tests build reads the data.
        cfg.default_hooks.pop("cost", None)
        configs[name] = warmup_config(cfg)
    return configs


def warmed_up(cfg: Config, file):
    """Three steps as the Runner makes them, with a seed for each, and a checkpoint with what it saves."""
    torch.manual_seed(0)
    model = MODELS.build(copy.deepcopy(cfg.model)).train()
    # As the Runner's hooks do.
    model.calls_after_step = True
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    schedules = [
        LinearLR(wrapper, start_factor=0.5, begin=0, end=2, by_epoch=False),
        PolyLR(wrapper, power=0.9, eta_min=5e-5, begin=2, end=9, by_epoch=False),
    ]
    for step in range(3):
        torch.manual_seed(step)
        losses = model.loss(*labeled_batch("source", "source"))
        wrapper.update_params(sum(value for key, value in losses.items() if "loss" in key))
        for schedule in schedules:
            schedule.step()
    checkpoint = dict(
        state_dict=model.state_dict(),
        optimizer=wrapper.state_dict(),
        param_schedulers=[schedule.state_dict() for schedule in schedules],
        meta=dict(iter=3),
        message_hub=dict(
            log_scalars=OrderedDict({f"train/{name}.loss": name for name in cfg.model.terms}),
            runtime_info=dict(
                run_cost_seconds=1.0, run_cost_peak_memory_mb=100.0 * len(model.heads)
            ),
        ),
    )
    torch.save(checkpoint, file)


def reread(cfg, file):
    cfg.dump(file)
    return Config.fromfile(file)


@pytest.fixture(scope="module")
def whole(own_configs, tmp_path_factory):
    """The warm-up of all methods: its checkpoint, and its config as a process reads it."""
    joined, *others = own_configs.values()
    for other in others:
        joined = joined_warmup(joined, other)
    folder = tmp_path_factory.mktemp("whole")
    # Written and read again, heads and discriminators come in another order.
    read = reread(joined, folder / "cfg.py")
    assert list(read.model.discriminators) != list(joined.model.discriminators)
    assert set(read.model.heads) == {"auxiliary", "mmdl"}
    warmed_up(read, folder / "whole.pth")
    return folder / "whole.pth", read


def flat(value, path=""):
    """Leaves of nested dictionaries and lists by their place."""
    if isinstance(value, dict | list | tuple):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {
            key: leaf for name, each in items for key, leaf in flat(each, f"{path}/{name}").items()
        }
    return {path: value}


@pytest.mark.parametrize(
    "method",
    [
        pytest.param(name, marks=() if name in ("drsl", "advent") else pytest.mark.slow)
        for name in METHODS
    ],
)
def test_part_is_what_the_method_alone_would_have(
    method, own_configs, whole, tmp_path, monkeypatch
):
    part, alone = (tmp_path / f"{name}.pth" for name in ("part", "alone"))
    own = reread(own_configs[method], tmp_path / "cfg.py")
    warmed_up(own, alone)
    # As in the benchmark's own process, which has no Runner.
    monkeypatch.setattr(DefaultScope, "_instance_dict", OrderedDict())
    write_part(*whole, part, own)
    found, expected = (torch.load(file, weights_only=False) for file in (part, alone))
    # Logs and memory of other methods' heads are not the method's.
    assert found.pop("message_hub") == dict(log_scalars={}, runtime_info=dict(run_cost_seconds=1.0))
    del expected["message_hub"]
    found, expected = flat(found), flat(expected)
    assert list(found) == list(expected)
    for place, value in expected.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(found[place], value), place
        elif isinstance(value, float):
            assert math.isclose(found[place], value, rel_tol=0), place
        else:
            assert found[place] == value, place
    # The run's optimizer takes it.
    model = MODELS.build(copy.deepcopy(own.model))
    wrapper = build_optim_wrapper(model, own.optim_wrapper)
    wrapper.load_state_dict(torch.load(part, weights_only=False)["optimizer"])


def test_checkpoint_without_the_heads_is_refused(own_configs, tmp_path):
    whole = tmp_path / "whole.pth"
    warmed_up(own_configs["source_only"], whole)
    with pytest.raises(ValueError, match=r"lacks \['heads.mmdl.*no warm-up of this run"):
        write_part(whole, own_configs["source_only"], tmp_path / "part.pth", own_configs["drsl"])
