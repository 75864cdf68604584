"""Every method steps on every task model, at a fraction of the width."""

import copy
import math

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from run_tools import ROOT

from mmdrsl.models.adaptation_step import AdaptationProgress

BASES = ROOT / "configs" / "_base_"
CLASSES, SIZE = 6, 64
SOURCE = dict(source=dict(type="SegmentationTerm", domain="source"))
# Base model, then channels and index of the auxiliary classifier's features and channels of the decoder's, the modes'.
MODELS_AND_FEATURES = {
    "fcn_r50": ((32, 2), 16),
    "segnet_vgg16bn": ((64, 3), 8),
    "deeplabv3plus_mobilenetv2": ((24, 2), 16),
    "deeplabv3plus_r50": ((32, 2), 16),
    "deeplabv3plus_r101": ((32, 2), 16),
    "deeplabv2_r101": ((32, 2), 64),
    **{f"segformer_b{size}": ((16, 2), 16) for size in range(6)},
}
# They differ from the smallest in width, which is reduced here, and in the number of blocks, which takes time.
DEEP = ("segformer_b1", "segformer_b2", "segformer_b3", "segformer_b4", "segformer_b5")
MODELS_TO_STEP = [
    pytest.param(name, marks=pytest.mark.slow) if name in DEEP else name
    for name in MODELS_AND_FEATURES
]
METHODS = (
    "source_only",
    "self_training",
    "self_training_plain",
    "drsl",
    "dacs",
    "adaptsegnet",
    "adaptsegnet_least_squares",
    "adaptsegnet_multi",
    "minent",
    "advent",
    "seg_uncertainty",
    "cycada_feature",
)


def narrow_segmentor(name):
    segmentor = copy.deepcopy(Config.fromfile(BASES / "models" / f"{name}.py").model.segmentor)
    backbone, head = segmentor.backbone, segmentor.decode_head
    head.num_classes = CLASSES
    if name == "segnet_vgg16bn":
        backbone.width = 0.125
        head.in_channels = (8, 16, 32, 64, 64)
    elif name.startswith("segformer"):
        backbone.update(embed_dims=8, num_heads=[1, 1, 2, 4])
        head.update(in_channels=[8, 8, 16, 32], channels=16)
    elif name == "deeplabv3plus_mobilenetv2":
        backbone.widen_factor = 0.25
        head.update(in_channels=80, channels=16, c1_in_channels=8, c1_channels=8)
    else:
        # Blocks that start as the identity would keep their first convolutions still in the first step.
        backbone.update(stem_channels=8, base_channels=8, zero_init_residual=False)
        if name == "deeplabv3plus_r101":
            # Its blocks widen four times.
            backbone.base_channels = 2
        else:
            backbone.depth = 18
        head.in_channels = 64
        if "channels" in head:
            head.channels = 16
        if "c1_in_channels" in head:
            head.update(c1_in_channels=8, c1_channels=8)
    return segmentor


def terms_of(method):
    if method == "source_only":
        return SOURCE
    base = method.removesuffix("_least_squares").removesuffix("_plain")
    cfg = Config.fromfile(BASES / "methods" / f"{base}.py")
    terms = dict(SOURCE, **cfg[f"{base}_terms"])
    if method == "adaptsegnet_least_squares":
        terms["adversarial"].kind = "least_squares"
    if method == "self_training_plain":
        del terms["regularization"]
    if "adaptation" in terms:
        # Nobody opens the gate here.
        terms["adaptation"].gate = None
    if method == "drsl":
        terms.update(Config.fromfile(BASES / "methods" / "self_training.py").self_training_terms)
    return terms


def adaptor(model, method):
    (aux_channels, aux_index), channels = MODELS_AND_FEATURES[model]
    terms, heads, discriminators = terms_of(method), {}, {}
    if any(term.get("head") == "auxiliary" for term in terms.values()):
        heads["auxiliary"] = dict(
            Config.fromfile(BASES / "methods" / "auxiliary_head.py").auxiliary_head,
            in_channels=aux_channels,
            in_index=aux_index,
            channels=8,
            num_classes=CLASSES,
        )
    if method == "drsl":
        heads["mmdl"] = dict(
            type="MMDLHead", in_channels=channels, in_index="decoder", num_classes=CLASSES,
            hidden_channels=16, embedding_dim=8,
        )  # fmt: skip
    for term in terms.values():
        if "discriminator" in term:
            discriminators[term["discriminator"]] = dict(
                type="DomainDiscriminator", in_channels=CLASSES, hidden_channels=(4, 8)
            )
    torch.manual_seed(0)
    built = MODELS.build(
        dict(
            type="UDASegmentor",
            data_preprocessor=dict(
                type="UDADataPreprocessor", mean=[128.0] * 3, std=[64.0] * 3, size=(SIZE, SIZE)
            ),
            segmentor=narrow_segmentor(model),
            heads=heads,
            discriminators=discriminators,
            terms=terms,
        )
    )
    built.init_weights()
    if method == "dacs":
        built.add_teacher(dict(type="ExponentialMovingAverage"))
        built.teacher.update_parameters(built.networks())
    return built.train()


def batch():
    generator = torch.Generator().manual_seed(0)
    inputs, samples = [], []
    for domain in ("source", "source", "target", "target"):
        label = torch.randint(0, CLASSES, (1, 8, 8), generator=generator)
        label = label.repeat_interleave(8, 1).repeat_interleave(8, 2)
        shape = (SIZE, SIZE)
        samples.append(
            SegDataSample(
                gt_sem_seg=PixelData(data=label),
                metainfo=dict(domain=domain, img_shape=shape, ori_shape=shape),
            )
        )
        inputs.append(torch.randint(256, (3, *shape), generator=generator, dtype=torch.uint8))
    return dict(inputs=inputs, data_samples=samples)


@pytest.mark.parametrize("model", MODELS_TO_STEP)
@pytest.mark.parametrize("method", METHODS)
def test_method_steps_on_model(method, model):
    built = adaptor(model, method)
    built.progress = AdaptationProgress(round=1, adaptation_iteration=50)
    schedule = Config.fromfile(BASES / "schedules" / "carla2camvid.py")
    wrapper = build_optim_wrapper(built, schedule.optim_wrapper)
    trained = [name for name, p in built.named_parameters() if p.requires_grad]
    trained = [name for name in trained if not name.startswith("teacher.")]
    before = {name: built.get_parameter(name).detach().clone() for name in trained}
    log = built.train_step(batch(), wrapper)
    assert math.isfinite(log["loss"])
    assert log["loss"] > 0
    ran = {name.split(".")[0] for name in log if name != "loss"}
    assert ran == set(terms_of(method))
    still = [name for name in trained if torch.equal(before[name], built.get_parameter(name))]
    assert still == []
    assert all(built.get_parameter(name).isfinite().all() for name in trained)


@pytest.mark.parametrize("model", MODELS_TO_STEP)
def test_every_method_starts_from_one_segmentor(model):
    start = adaptor(model, "source_only").segmentor.state_dict()
    for method in METHODS[1:]:
        other = adaptor(model, method).segmentor.state_dict()
        assert all(torch.equal(value, other[name]) for name, value in start.items()), method
