"""A method's config on another network than the one it was written for."""

import copy

import pytest
import torch
from mmseg.registry import MODELS
from training_steps import labeled_batch

from mmdrsl.benchmark.methods import built_in_methods
from mmdrsl.benchmark.networks import (
    network_names,
    use_network,
    use_weights,
    weights_of,
)
from mmdrsl.benchmark.pairs import DEFAULT_PAIR
from mmdrsl.benchmark.plan import CONFIGS
from mmdrsl.engine.launch import read_config
from mmdrsl.models.adaptation_step import AdaptationProgress

USUAL = "deeplabv3plus_mobilenetv2"


def method_config(method="drsl"):
    return read_config(CONFIGS / method / f"deeplabv3plus_{DEFAULT_PAIR}.py")


def use(cfg, name):
    use_network(cfg, name, configs=CONFIGS, usual=USUAL)


def model_of(name):
    return read_config(CONFIGS / "_base_/models" / f"{name}.py").model


def test_networks_are_those_that_have_a_base_config():
    found = network_names(CONFIGS)
    assert {USUAL, "deeplabv3plus_small"} <= set(found)
    assert all("segmentor" in model_of(name) for name in found)
    assert "adaptor" not in found
    assert f"{USUAL}_in1k" not in found


@pytest.mark.parametrize(
    "network",
    [
        pytest.param(name, marks=() if name == "fcn_r50" else pytest.mark.slow)
        for name in network_names(CONFIGS)
    ],
)
def test_a_network_takes_the_place_of_the_usual_one(network):
    cfg = method_config()
    use(cfg, network)
    wanted = model_of(network)
    wanted.segmentor.backbone.pop("init_cfg", None)
    assert cfg.model.segmentor == wanted.segmentor
    model = MODELS.build(copy.deepcopy(cfg.model))
    assert model.segmentor.num_classes == model.heads["mmdl"].num_classes == 10


@pytest.mark.parametrize(
    "method",
    [
        pytest.param(name, marks=() if name == "advent" else pytest.mark.slow)
        for name in built_in_methods(CONFIGS, DEFAULT_PAIR)
    ],
)
def test_every_method_steps_on_another_network(plan, method):
    # Channels of heads and discriminators are those of the other network, or the step fails.
    cfg = plan(method, networks=("deeplabv3plus_small",))[method].training.cfg
    model_cfg = copy.deepcopy(cfg.model)
    if "adaptation" in model_cfg.terms:
        # Nobody opens the gate here.
        model_cfg.terms.adaptation.gate = None
    model = MODELS.build(model_cfg).train()
    # As AfterStepHook does.
    model.calls_after_step = True
    if "teacher" in cfg.default_hooks:
        model.add_teacher(dict(type="ExponentialMovingAverage"))
        model.teacher.update_parameters(model.networks())
    model.progress = AdaptationProgress(round=1, adaptation_iteration=100)
    losses = model.loss(*labeled_batch("source", "source", "target", "target"))
    assert {key.split(".")[0] for key in losses} == set(cfg.model.terms)
    total = sum(value.sum() for key, value in losses.items() if "loss" in key)
    total.backward()
    assert torch.isfinite(total)
    for name, discriminator in model.discriminators.items():
        assert any(p.grad is not None and p.grad.any() for p in discriminator.parameters()), name


def test_a_config_of_any_network_takes_the_one_that_is_asked_for():
    # A user's own, on another network than that of the pair.
    for name in (USUAL, "deeplabv3plus_small"):
        cfg = method_config()
        cfg.model.segmentor = model_of("deeplabv3plus_small").segmentor
        use(cfg, name)
        expected = method_config()
        use(expected, name)
        assert cfg.model == expected.model


def test_a_method_with_a_segmentor_of_its_own_has_no_other_network():
    cfg = method_config()
    cfg.model.segmentor.decode_head.channels = 64
    use(cfg, USUAL)
    assert cfg.model.segmentor.decode_head.channels == 64
    with pytest.raises(ValueError, match=r"is none of \[.*\], so that fcn_r50 cannot"):
        use(cfg, "fcn_r50")
    with pytest.raises(ValueError, match=r"unknown model 'vgg': use some of .*'fcn_r50'"):
        use(cfg, "vgg")


def test_weights_must_be_there_or_be_waived(tmp_path):
    def found(name, given):
        return weights_of(name, usual={USUAL: "a.pth"}, data=tmp_path, given=given)

    with pytest.raises(FileNotFoundError, match=f"--weights {USUAL}=scratch"):
        found(USUAL, {})
    assert found(USUAL, {USUAL: "scratch"}) is None
    assert found("fcn_r50", {}) is None
    file = tmp_path / "weights/a.pth"
    file.parent.mkdir()
    file.touch()
    assert found(USUAL, {}) == found("fcn_r50", {"fcn_r50": str(file)}) == file.resolve()
    cfg = method_config()
    use_weights(cfg, file)
    assert cfg.model.segmentor.backbone.init_cfg == dict(type="Pretrained", checkpoint=str(file))
