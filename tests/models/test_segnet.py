"""SegNet against a plain computation with the same weights."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import nn

from mmdrsl.models.backbones.segnet_encoder import SegNetEncoder
from mmdrsl.models.decode_heads.segnet_head import SegNetHead

NUM_CLASSES = 7
WIDTH = 1 / 16
CHANNELS = (4, 8, 16, 32, 32)
NUM_CONVS = (2, 2, 3, 3, 3)


def build_segnet(**encoder_options):
    torch.manual_seed(0)
    model = MODELS.build(
        {
            "type": "EncoderDecoder",
            "backbone": {"type": "SegNetEncoder", "width": WIDTH, **encoder_options},
            "decode_head": {
                "type": "SegNetHead",
                "in_channels": CHANNELS,
                "num_classes": NUM_CLASSES,
                "norm_cfg": {"type": "BN"},
                "dropout_ratio": 0.0,
            },
            "train_cfg": {},
            "test_cfg": {"mode": "whole"},
        }
    )
    model.init_weights()
    return model


def randomize_norms(model):
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.5, 1.5)


def plain_conv(weights, name, x):
    x = F.conv2d(x, weights[f"{name}.conv.weight"], padding=1)
    mean, var = weights[f"{name}.bn.running_mean"], weights[f"{name}.bn.running_var"]
    scale = weights[f"{name}.bn.weight"] / (var + 1e-5).sqrt()
    shift = weights[f"{name}.bn.bias"] - mean * scale
    return (x * scale[:, None, None] + shift[:, None, None]).clamp(min=0)


def plain_pool(x):
    """Values and one-hot positions of the first maximum of every 2x2 window."""
    n, c, h, w = x.shape
    h, w = h // 2, w // 2
    windows = x[..., : 2 * h, : 2 * w].reshape(n, c, h, 2, w, 2).permute(0, 1, 2, 4, 3, 5)
    windows = windows.reshape(n, c, h, w, 4).numpy()
    position = windows.argmax(-1)
    return torch.from_numpy(windows.max(-1)), torch.from_numpy(np.eye(4, dtype="f4")[position])


def plain_unpool(x, one_hot, size):
    n, c, h, w = x.shape
    windows = (x[..., None] * one_hot).reshape(n, c, h, w, 2, 2)
    image = windows.permute(0, 1, 2, 4, 3, 5).reshape(n, c, 2 * h, 2 * w)
    return F.pad(image, (0, size[1] - 2 * w, 0, size[0] - 2 * h))


def plain_segnet(weights, images):
    x, switches, sizes = images, [], []
    for stage in range(5):
        for conv in range(NUM_CONVS[stage]):
            x = plain_conv(weights, f"backbone.stages.{stage}.{conv}", x)
        sizes.append(x.shape[-2:])
        x, one_hot = plain_pool(x)
        switches.append(one_hot)
    for stage in (4, 3, 2, 1, 0):
        x = plain_unpool(x, switches[stage], sizes[stage])
        for conv in range(NUM_CONVS[stage]):
            x = plain_conv(weights, f"decode_head.stages.{stage}.{conv}", x)
    name = "decode_head.conv_seg"
    return F.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"])


@pytest.mark.parametrize("size", [(64, 32), (71, 45), (33, 63)])
def test_equals_plain_computation(size):
    model = build_segnet().eval()
    randomize_norms(model)
    nn.init.normal_(model.decode_head.conv_seg.weight)
    images = torch.randn(2, 3, *size)
    with torch.no_grad():
        logits = model(images, mode="tensor")
        expected = plain_segnet(model.state_dict(), images)
    assert logits.shape == (2, NUM_CLASSES, *size)
    assert expected.std() > 0.1
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)


def test_output_layout():
    encoder = SegNetEncoder(width=WIDTH).eval()
    outs = encoder(torch.randn(2, 3, 71, 45))
    assert encoder.stage_channels == CHANNELS
    assert len(outs) == 11
    for stage, (features, indices) in enumerate(zip(outs[:5], outs[5:10], strict=True)):
        divisor = 2 ** (stage + 1)
        assert features.shape == (2, CHANNELS[stage], 71 // divisor, 45 // divisor)
        assert indices.shape == features.shape
        assert indices.dtype == torch.int64
    assert outs[10].shape == (2, 0, 71, 45)


def test_batch_slices_decode_alone():
    model = build_segnet().eval()
    images = torch.randn(3, 3, 71, 45)
    with torch.no_grad():
        outs = model.backbone(images)
        first = model.decode_head(tuple(t[:1] for t in outs))
        rest = model.decode_head(tuple(t[1:] for t in outs))
        torch.testing.assert_close(first, model(images[:1], mode="tensor"))
        torch.testing.assert_close(rest, model(images[1:], mode="tensor"))


def test_predict_keeps_full_resolution():
    model = build_segnet().eval()
    images = torch.randn(1, 3, 40, 37)
    with torch.no_grad():
        logits = model.encode_decode(images, [{"img_shape": (40, 37)}])
        assert torch.equal(logits, model(images, mode="tensor"))


def test_gradients_reach_every_parameter():
    model = build_segnet().train()
    randomize_norms(model)
    labels = torch.randint(NUM_CLASSES, (4, 70, 66))
    F.cross_entropy(model(torch.randn(4, 3, 70, 66), mode="tensor"), labels).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_initial_activations_keep_their_scale():
    model = build_segnet().eval()
    features = model.backbone(torch.randn(2, 3, 64, 64))[4]
    assert 0.1 < features.std() < 10
    assert 0 < model.decode_head.conv_seg.weight.std() < 0.02


def test_norm_eval_fixes_the_statistics():
    norms = [m for m in build_segnet(norm_eval=True).train().backbone.modules() if is_norm(m)]
    assert len(norms) == 13
    assert not any(norm.training for norm in norms)
    assert all(m.training for m in build_segnet().train().backbone.modules() if is_norm(m))


def is_norm(module):
    return isinstance(module, nn.BatchNorm2d)


def test_no_norm_has_biases():
    encoder = SegNetEncoder(width=WIDTH, norm_cfg=None)
    assert encoder.stages[0][0].conv.bias is not None


def test_wrong_use_is_refused():
    with pytest.raises(ValueError, match="at least 32"):
        SegNetEncoder(width=WIDTH)(torch.zeros(1, 3, 31, 64))
    with pytest.raises(ValueError, match="width is 0"):
        SegNetEncoder(width=0)
    with pytest.raises(ValueError, match="one per encoder stage"):
        SegNetHead(in_channels=(4, 8), num_classes=NUM_CLASSES)
    head = SegNetHead(in_channels=CHANNELS, num_classes=NUM_CLASSES)
    with pytest.raises(ValueError, match="use SegNetEncoder"):
        head(tuple(torch.zeros(1, c, 2, 2) for c in CHANNELS))
    with pytest.raises(TypeError, match="chanels"):
        SegNetHead(in_channels=CHANNELS, num_classes=NUM_CLASSES, chanels=3)
