"""One warm-up with the heads of several methods leaves each what a warm-up of its own would have."""

import copy
import math
from collections import OrderedDict

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import LinearLR, PolyLR, build_optim_wrapper
from mmengine.registry import DefaultScope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

import mmdrsl  # noqa: F401 - registers what the configs name
from mmdrsl.benchmark.methods import method_config
from mmdrsl.benchmark.networks import use_network
from mmdrsl.benchmark.plan import CONFIGS
from mmdrsl.benchmark.warmup import joined_warmup, warmup_config
from mmdrsl.benchmark.warmup_checkpoint import write_part

METHODS = ("source_only", "drsl", "adaptsegnet", "advent", "minent", "cycada_feature")


@pytest.fixture(scope="module")
def own_configs():
    configs = {}
    for name in METHODS:
        cfg = method_config(name, CONFIGS)
        use_network(cfg, "deeplabv3plus_small", configs=CONFIGS, weights=None)
        if "teacher" in cfg.default_hooks:
            cfg.default_hooks.teacher.begin = 600
        # No model that the tests build reads the data.
        cfg.default_hooks.pop("cost", None)
        configs[name] = warmup_config(cfg)
    return configs


@pytest.fixture(scope="module")
def joined(own_configs):
    first, *others = own_configs.values()
    for other in others:
        first = joined_warmup(first, other)
    return first


def images():
    generator = torch.Generator().manual_seed(0)
    samples = []
    for _ in range(2):
        label = torch.randint(0, 10, (1, 8, 8), generator=generator)
        label = label.repeat_interleave(8, 1).repeat_interleave(8, 2)
        shape = dict(img_shape=(64, 64), ori_shape=(64, 64), domain="source")
        samples.append(SegDataSample(gt_sem_seg=PixelData(data=label), metainfo=shape))
    return torch.randn(2, 3, 64, 64, generator=generator), samples


def warmed_up(cfg: Config, file):
    """Three steps as the Runner makes them, with a seed for each, and a checkpoint with what it saves."""
    torch.manual_seed(0)
    model = MODELS.build(copy.deepcopy(cfg.model)).train()
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    schedules = [
        LinearLR(wrapper, start_factor=0.5, begin=0, end=2, by_epoch=False),
        PolyLR(wrapper, power=0.9, eta_min=5e-5, begin=2, end=9, by_epoch=False),
    ]
    for step in range(3):
        torch.manual_seed(step)
        total = sum(value for key, value in model.loss(*images()).items() if "loss" in key)
        wrapper.update_params(total)
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


def flat(value, path=""):
    """Leaves of nested dictionaries and lists by their place."""
    if isinstance(value, dict | list | tuple):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {
            key: leaf for name, each in items for key, leaf in flat(each, f"{path}/{name}").items()
        }
    return {path: value}


@pytest.mark.parametrize("method", METHODS)
def test_part_is_what_the_method_alone_would_have(
    method, own_configs, joined, tmp_path, monkeypatch
):
    whole, part, alone = (tmp_path / f"{name}.pth" for name in ("whole", "part", "alone"))
    # Written and read again, as by the benchmark, which changes the order of heads and discriminators.
    joined, own = (reread(cfg, tmp_path / "cfg.py") for cfg in (joined, own_configs[method]))
    assert list(joined.model.heads) == ["auxiliary", "mmdl"]
    warmed_up(joined, whole)
    warmed_up(own, alone)
    # As in the benchmark's own process, which has no Runner.
    monkeypatch.setattr(DefaultScope, "_instance_dict", OrderedDict())
    write_part(whole, joined, part, own)
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


def test_joined_warm_up_has_what_all_of_them_train(joined):
    assert set(joined.model.heads) == {"mmdl", "auxiliary"}
    assert set(joined.model.discriminators) == {"output", "auxiliary", "scores"}


def test_checkpoint_without_the_heads_is_refused(own_configs, tmp_path):
    whole = tmp_path / "whole.pth"
    warmed_up(own_configs["source_only"], whole)
    with pytest.raises(ValueError, match=r"lacks \['heads.mmdl.*no warm-up of this run"):
        write_part(whole, own_configs["source_only"], tmp_path / "part.pth", own_configs["drsl"])
