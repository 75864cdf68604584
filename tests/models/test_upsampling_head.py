"""VFM-UDA's light decoder against plain tensor operations with the same weights."""

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import nn

CHANNELS, WIDTH, CLASSES = 16, 4, 5


def transposed(x, weight, bias):
    """Every place of the map becomes a square of two by two pixels."""
    squares = torch.einsum("bchw,cdij->bdhiwj", x, weight)
    return squares.reshape(len(x), -1, 2 * x.shape[2], 2 * x.shape[3]) + bias[:, None, None]


def norm(x, weight, bias):
    return F.layer_norm(x.movedim(1, -1), x.shape[1:2], weight, bias, eps=1e-6).movedim(-1, 1)


def test_logits_are_four_times_as_large():
    torch.manual_seed(0)
    head = MODELS.build(
        dict(
            type="UpsamplingHead",
            in_channels=CHANNELS,
            channels=WIDTH,
            num_classes=CLASSES,
            dropout_ratio=0.0,
        )
    )
    head.init_weights()
    assert head.conv_seg.bias is None
    assert 0.05 < head.conv_seg.weight.std() < 0.2
    for parameter in head.parameters():
        nn.init.normal_(parameter, std=0.5)
    image = torch.randn(2, CHANNELS, 3, 5)
    found = head((torch.randn(2, 7, 3, 5), image))
    first, first_norm, _, second, second_norm, mixing, last_norm = head.upsampling
    x = norm(transposed(image, first.weight, first.bias), first_norm.weight, first_norm.bias)
    x = transposed(F.gelu(x), second.weight, second.bias)
    x = F.conv2d(
        norm(x, second_norm.weight, second_norm.bias), mixing.weight, mixing.bias, padding=1
    )
    x = norm(x, last_norm.weight, last_norm.bias)
    wanted = torch.einsum("bchw,dc->bdhw", x, head.conv_seg.weight[:, :, 0, 0])
    assert wanted.shape == (2, CLASSES, 12, 20)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
