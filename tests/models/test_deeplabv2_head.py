"""The DeepLab-V2 classifier against a plain sum of convolutions."""

import pytest
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS

DILATIONS = (6, 12, 18, 24)


def build(**options):
    torch.manual_seed(0)
    return MODELS.build(
        dict(type="DeepLabV2Head", in_channels=8, num_classes=5, dropout_ratio=0.0, **options)
    )


def test_sums_all_rates():
    head = build()
    features = torch.randn(2, 8, 30, 34)
    weights = dict(head.named_parameters())
    assert len(weights) == 2 * len(DILATIONS)
    parts = [
        F.conv2d(
            features,
            weights[f"conv_seg.branches.{index}.weight"],
            weights[f"conv_seg.branches.{index}.bias"],
            padding=rate,
            dilation=rate,
        )
        for index, rate in enumerate(DILATIONS)
    ]
    found = head((features,))
    torch.testing.assert_close(found, sum(parts), rtol=1e-5, atol=1e-5)
    # What the release that returns inside its loop would give.
    assert not torch.allclose(found, parts[0] + parts[1], atol=1e-3)


def test_initialized_as_a_classifier():
    head = build()
    head.init_weights()
    for branch in head.conv_seg.branches:
        assert branch.weight.std().item() == pytest.approx(0.01, rel=0.2)
        assert (branch.bias == 0).all()


def test_every_branch_learns():
    head = build()
    head((torch.randn(1, 8, 30, 30),)).square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in head.parameters())


def test_without_rates():
    with pytest.raises(ValueError, match="dilations is empty"):
        build(dilations=())
