"""DAFormer's decoder against plain convolutions with the same weights."""

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import nn

CHANNELS, WIDTH, CLASSES = (4, 6, 8, 10), 12, 5


def build(dilations):
    torch.manual_seed(0)
    head = MODELS.build(
        dict(
            type="DAFormerHead",
            in_channels=CHANNELS,
            channels=WIDTH,
            num_classes=CLASSES,
            dilations=dilations,
            norm_cfg=dict(type="BN"),
            dropout_ratio=0.0,
        )
    )
    for layer in head.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for tensor in (layer.weight, layer.bias, layer.running_mean, layer.running_var):
                nn.init.uniform_(tensor, 0.5, 1.5)
    return head.eval()


def plain(state, maps, dilations):
    def layer(name, x, **options):
        x = F.conv2d(x, state[f"{name}.conv.weight"], **options)
        parts = [
            state[f"{name}.bn.{key}"] for key in ("running_mean", "running_var", "weight", "bias")
        ]
        mean, variance, weight, bias = (part[:, None, None] for part in parts)
        return ((x - mean) / (variance + 1e-5).sqrt() * weight + bias).relu()

    embedded = []
    for index, each in enumerate(maps):
        weight = state[f"embeddings.{index}.weight"][:, :, 0, 0]
        linear = torch.einsum("bchw,dc->bdhw", each, weight)
        linear = linear + state[f"embeddings.{index}.bias"][:, None, None]
        size = maps[0].shape[2:]
        embedded.append(F.interpolate(linear, size, mode="bilinear", align_corners=False))
    x = torch.cat(embedded, 1)
    if not dilations:
        x = layer("fusion", x)
    else:
        branches = []
        for index, rate in enumerate(dilations):
            name = f"fusion.branches.{index}"
            if rate == 1:
                branches.append(layer(name, x))
                continue
            deep = layer(
                f"{name}.depthwise_conv", x, padding=rate, dilation=rate, groups=x.shape[1]
            )
            branches.append(layer(f"{name}.pointwise_conv", deep))
        x = layer("fusion.bottleneck", torch.cat(branches, 1), padding=1)
    return F.conv2d(x, state["conv_seg.weight"], state["conv_seg.bias"])


def test_fusion_with_and_without_context():
    maps = [torch.randn(2, c, 24 // 2**k, 32 // 2**k) for k, c in enumerate(CHANNELS)]
    for dilations in ((1, 2, 3), ()):
        head = build(dilations)
        found = head(maps)
        assert found.shape == (2, CLASSES, 24, 32)
        wanted = plain(dict(head.state_dict()), maps, dilations)
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_every_weight_learns():
    head = build((1, 6, 12, 18)).train()
    head(
        [torch.randn(2, c, 16 // 2**k, 16 // 2**k) for k, c in enumerate(CHANNELS)]
    ).square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in head.parameters())
