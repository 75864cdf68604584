"""Decode heads that return several maps, and cascades: every output is shared out over the domains."""

import pytest
import torch
from families import SIZE, narrow
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from mmseg.utils import add_prefix

from mmdrsl.models.feature_maps import decode, decode_heads
from mmdrsl.stock import stock_model

CLASSES = 5
# Config, and the number of outputs of the last head in training.
STOCK = {
    "danet/danet_r50-d8_4xb4-80k_ade20k-512x512.py": 3,
    "ddrnet/ddrnet_23-slim_in1k-pre_2xb6-120k_cityscapes-1024x1024.py": 2,
    "encnet/encnet_r50-d8_4xb4-80k_ade20k-512x512.py": 2,
    "knet/knet-s3_r50-d8_fcn_8xb2-adamw-80k_ade20k-512x512.py": 4,
    "ocrnet/ocrnet_hr18_4xb4-80k_ade20k-512x512.py": 1,
    "pidnet/pidnet-s_2xb6-120k_1024x1024-cityscapes.py": 3,
}
TERMS = {domain: dict(type="SegmentationTerm", domain=domain) for domain in ("source", "target")}


def build(stock, **options):
    """An adaptor whose layers predict, and whose parts return what they return in training."""
    torch.manual_seed(0)
    segmentor = ConfigDict(stock_model(f"mmseg::{stock}")["segmentor"])
    narrow(segmentor)
    space = dict(
        name="five",
        classes=[f"class {index}" for index in range(CLASSES)],
        palette=[[index] * 3 for index in range(CLASSES)],
    )
    model = MODELS.build(
        dict(
            type="UDASegmentor",
            segmentor=segmentor,
            label_space=space,
            crop_size=SIZE,
            terms=TERMS,
            **options,
        )
    )
    model.init_weights()
    model.eval()
    for part in (model.segmentor.backbone, *decode_heads(model.segmentor)):
        part.training = True
    return model


def batch(*domains):
    generator = torch.Generator().manual_seed(0)
    samples = []
    for domain in domains:
        labels = torch.randint(CLASSES, (1, 8, 8), generator=generator)
        labels = labels.repeat_interleave(8, 1).repeat_interleave(8, 2)
        edges = torch.randint(2, (1, *SIZE), generator=generator)
        samples.append(
            SegDataSample(
                gt_sem_seg=PixelData(data=labels),
                gt_edge_map=PixelData(data=edges),
                metainfo=dict(domain=domain, img_shape=SIZE, ori_shape=SIZE),
            )
        )
    return torch.randn(len(domains), 3, *SIZE, generator=generator), samples


@pytest.mark.parametrize("stock", STOCK)
def test_a_domain_has_the_losses_that_mmsegmentation_gives_its_images_alone(stock):
    model = build(stock)
    inputs, samples = batch("source", "target", "target")
    found = model.loss(inputs, samples)
    for domain, part in (("source", slice(0, 1)), ("target", slice(1, None))):
        wanted = model.segmentor.loss(inputs[part], samples[part])
        # Its names: those of the decode head without a prefix, auxiliary heads by number.
        wanted = {
            key.removeprefix("decode.").replace("aux.", "aux_0."): value
            for key, value in wanted.items()
        }
        wanted = add_prefix(wanted, domain)
        own = {key: value for key, value in found.items() if key.startswith(domain)}
        assert own.keys() == wanted.keys()
        for key, value in wanted.items():
            torch.testing.assert_close(own[key], value, msg=key)


@pytest.mark.parametrize("stock", STOCK)
def test_the_scores_are_those_that_predict(stock):
    model = build(stock)
    images, _ = batch("source", "source")
    decoded = decode(model.segmentor, model.extract_feat(images))
    last = decoded.outputs[-1]
    assert (1 if isinstance(last, torch.Tensor) else len(last)) == STOCK[stock]
    model.eval()
    predicted = model.encode_decode(images, [dict(img_shape=SIZE)] * 2)
    logits = resize(decoded.logits, size=SIZE, mode="bilinear", align_corners=model.align_corners)
    torch.testing.assert_close(logits, predicted)


def test_every_stage_of_a_cascade_has_a_loss_of_its_own():
    model = build("ocrnet/ocrnet_hr18_4xb4-80k_ade20k-512x512.py")
    names = {key for key in model.loss(*batch("source")) if "loss" in key}
    assert names == {"source.decode_0.loss_ce", "source.decode_1.loss_ce"}


def test_a_head_whose_samples_lack_something_says_what():
    model = build("pidnet/pidnet-s_2xb6-120k_1024x1024-cityscapes.py")
    inputs, samples = batch("source")
    del samples[0].gt_edge_map
    with pytest.raises(ValueError, match=r"PIDHead .* gt_edge_map"):
        model.loss(inputs, samples)


def test_further_heads_read_no_map_that_is_another_one_in_a_prediction():
    stock = "ddrnet/ddrnet_23-slim_in1k-pre_2xb6-120k_cityscapes-1024x1024.py"
    with pytest.raises(ValueError, match=r"MMDLHead has in_index=-1, but DDRNet has .*'decoder'"):
        build(stock, heads=dict(mmdl=dict(type="MMDLHead")))
    build(stock, heads=dict(mmdl=dict(type="MMDLHead", in_index="decoder")))
