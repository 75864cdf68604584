"""Every method steps on every model, at a fraction of the width."""

import math

import pytest
import torch
from config_folders import BASES, METHODS, MODELS_TO_ADAPT, depth_of
from mmengine.optim import build_optim_wrapper
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from tested_page import ALL_STEPS

from mmdrsl.engine.launch import read_config
from mmdrsl.models.adaptation_step import AdaptationProgress
from mmdrsl.models.segmentors.completion import feature_channels, heads_of

SIZE = (64, 64)
# A backbone that is not named here keeps its width.
NARROW_BACKBONES = {
    # Blocks that start as the identity would keep their first convolutions still in the first step.
    "ResNet": dict(stem_channels=8, base_channels=8, zero_init_residual=False),
    "MobileNetV2": dict(widen_factor=0.25),
    "SegNetEncoder": dict(width=0.125),
    # Scales of 1e-5 at first would keep most weights still.
    "PlainViT": dict(
        options=dict(depth=3, embed_dim=16, num_heads=2, img_size=56, init_values=1.0),
        out_indices=[0, 1, 2],
    ),
    "MixVisionTransformer": dict(embed_dims=8, num_heads=[1, 1, 2, 4]),
}
LEAF = """
_base_ = [{model!r}, {pair!r}, {method!r}]
model = {{**_base_.method, **_base_.pair_model}}
default_hooks = _base_.get("method_hooks", dict())
"""


def kind_of(name):
    segmentor = MODELS_TO_ADAPT[name]
    return segmentor.type, segmentor.backbone.type, segmentor.decode_head.type


def shallowest(names):
    return min(names, key=lambda name: (depth_of(MODELS_TO_ADAPT[name]), name))


SMALLEST = shallowest(MODELS_TO_ADAPT)
# One of each kind of network; the others differ in depth and width.
SHALLOW = {
    shallowest(name for name in MODELS_TO_ADAPT if kind_of(name) == kind)
    for kind in map(kind_of, MODELS_TO_ADAPT)
}
# Every method on one network, and a method with labels, modes and a further head on one network of each kind.
FAST = {(method, SMALLEST) for method in METHODS} | {("drsl", name) for name in SHALLOW}


def narrow(segmentor):
    """Make a segmentor's config narrow, in place; heads beside it follow by themselves."""
    segmentor.backbone.pop("init_cfg", None)
    segmentor.backbone.update(NARROW_BACKBONES.get(segmentor.backbone.type, {}))
    channels = feature_channels(segmentor, SIZE).predicting
    for head in heads_of(segmentor):
        index = head.get("in_index", -1)
        if isinstance(head.get("in_channels"), (list, tuple)) and not isinstance(index, list):
            # It reads as many maps as it has entries.
            head.in_channels = channels[: len(head.in_channels)]
        else:
            head.pop("in_channels", None)
        if "c1_in_channels" in head:
            head.c1_in_channels = channels[0]
        head.update({key: 16 for key in ("channels", "c1_channels") if key in head})


def composed(tmp_path, model, method):
    """A leaf of a model, a method and the small real pair, narrow."""
    bases = dict(
        model=str(BASES / "models" / f"{model}.py"),
        pair=str(BASES / "pairs" / "carla2camvid.py"),
        method=str(BASES / "methods" / f"{method}.py"),
    )
    path = tmp_path / f"{model}_{method}.py"
    path.write_text(LEAF.format(**bases))
    cfg = read_config(path)
    narrow(cfg.model.segmentor)
    cfg.model.crop_size = SIZE
    cfg.model.data_preprocessor.size_divisor = 32
    for term in cfg.model.terms.values():
        # In one step no discriminator is right often enough.
        if "gate" in term:
            term.gate = None
    # As in the file that a run writes: MMEngine sorts what it writes.
    cfg.model.terms = dict(sorted(cfg.model.terms.items()))
    return cfg


def build(cfg):
    torch.manual_seed(0)
    built = MODELS.build(cfg.model)
    built.init_weights()
    return built.train()


def batch(classes):
    generator = torch.Generator().manual_seed(0)
    inputs, samples = [], []
    for domain in ("source", "source", "target", "target"):
        label = torch.randint(0, classes, (1, 8, 8), generator=generator)
        label = label.repeat_interleave(8, 1).repeat_interleave(8, 2)
        samples.append(
            SegDataSample(
                gt_sem_seg=PixelData(data=label),
                metainfo=dict(domain=domain, img_shape=SIZE, ori_shape=SIZE),
            )
        )
        inputs.append(torch.randint(256, (3, *SIZE), generator=generator, dtype=torch.uint8))
    return dict(inputs=inputs, data_samples=samples)


def assert_steps(cfg):
    """One step of the first round moves every trained weight by every term."""
    built = build(cfg)
    built.progress = AdaptationProgress(round=1, adaptation_iteration=50)
    built.calls_after_step = True
    if any(term.needs_teacher for term in built.terms.values()):
        built.add_teacher(cfg.default_hooks.teacher.average)
        built.teacher.update_parameters(built.networks())
    wrapper = build_optim_wrapper(built, cfg.optim_wrapper)
    trained = [name for name, p in built.named_parameters() if p.requires_grad]
    trained = [name for name in trained if not name.startswith("teacher.")]
    before = {name: built.get_parameter(name).detach().clone() for name in trained}
    log = built.train_step(batch(built.num_classes), wrapper)
    assert math.isfinite(log["loss"])
    assert log["loss"] > 0
    assert {name.split(".")[0] for name in log if name != "loss"} == set(built.terms.keys())
    still = [name for name in trained if torch.equal(before[name], built.get_parameter(name))]
    assert still == []
    assert all(built.get_parameter(name).isfinite().all() for name in trained)


def cases(pairs):
    return sorted(
        (pytest.param(*pair, id="-".join(pair)) for pair in pairs), key=lambda param: param.id
    )


@pytest.mark.parametrize(("method", "model"), cases(FAST))
def test_method_steps_on_model(method, model, tmp_path, tested):
    assert_steps(composed(tmp_path, model, method))
    tested.steps.add((method, model))


@pytest.mark.slow
@pytest.mark.parametrize(("method", "model"), cases(ALL_STEPS - FAST))
def test_method_steps_on_every_other_model(method, model, tmp_path, tested):
    assert_steps(composed(tmp_path, model, method))
    tested.steps.add((method, model))


def segmentor_at_start(cfg):
    return build(cfg).segmentor.state_dict()


@pytest.mark.parametrize(
    "model",
    [SMALLEST, *(pytest.param(name, marks=pytest.mark.slow)
                 for name in sorted(MODELS_TO_ADAPT) if name != SMALLEST)],
)  # fmt: skip
def test_every_method_starts_from_one_segmentor(model, tmp_path):
    start = segmentor_at_start(composed(tmp_path, model, METHODS[0]))
    for method in METHODS[1:]:
        other = segmentor_at_start(composed(tmp_path, model, method))
        assert other.keys() == start.keys()
        assert all(torch.equal(value, other[name]) for name, value in start.items()), method
