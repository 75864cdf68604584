"""The discriminator against a plain computation, and how the adaptor keeps it."""

import copy

import pytest
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from tiny_adaptor import TERMS, build, plain_config

from mmdrsl.models.discriminators.domain_discriminator import DomainDiscriminator
from mmdrsl.models.discriminators.frozen import score_frozen

SMALL = dict(type="DomainDiscriminator", in_channels=3, hidden_channels=(4, 8))


def test_layers_of_the_paper():
    discriminator = DomainDiscriminator(in_channels=19)
    shapes = [tuple(p.shape) for n, p in discriminator.named_parameters() if n.endswith("weight")]
    assert shapes == [(64, 19, 4, 4), (128, 64, 4, 4), (256, 128, 4, 4), (512, 256, 4, 4),
                      (1, 512, 4, 4)]  # fmt: skip
    assert discriminator(torch.zeros(2, 19, 64, 96)).shape == (2, 1, 2, 3)


def test_equals_plain_computation():
    discriminator = MODELS.build(SMALL)
    maps = torch.randn(2, 3, 24, 40)
    weights = list(discriminator.parameters())
    x = maps
    for index in range(3):
        x = F.conv2d(x, weights[2 * index], weights[2 * index + 1], stride=2, padding=1)
        if index < 2:
            x = torch.where(x > 0, x, 0.2 * x)
    torch.testing.assert_close(discriminator(maps), x)


@pytest.mark.parametrize(("kernel_size", "stride"), [(4, 2), (3, 2), (1, 1), (4, 1)])
def test_smallest_map(kernel_size, stride):
    discriminator = DomainDiscriminator(
        in_channels=3, hidden_channels=(4, 8), kernel_size=kernel_size, stride=stride
    )
    side = discriminator.smallest_side
    assert discriminator(torch.randn(1, 3, side, side)).shape[-2:] == (1, 1)
    with pytest.raises(ValueError, match="shorten hidden_channels"):
        discriminator(torch.randn(1, 3, side, side - 1))


def test_wrong_use_is_refused():
    with pytest.raises(ValueError, match="takes 3 channels"):
        MODELS.build(SMALL)(torch.zeros(1, 4, 64, 64))
    with pytest.raises(ValueError, match="must be >= 1"):
        DomainDiscriminator(in_channels=3, hidden_channels=(0,))


def test_frozen_scores_reach_only_the_map():
    discriminator = MODELS.build(SMALL)
    maps = torch.randn(2, 3, 24, 24, requires_grad=True)
    frozen, learning = score_frozen(discriminator, maps), discriminator(maps)
    assert torch.equal(frozen, learning)
    (gradient,) = torch.autograd.grad(learning.sum(), maps, retain_graph=True)
    frozen.sum().backward()
    assert torch.equal(maps.grad, gradient)
    assert all(p.grad is None and p.requires_grad for p in discriminator.parameters())


def test_everything_starts_from_one_segmentor():
    """Heads and discriminators shift no random number of the segmentor, nor of what comes after it."""

    def start(**options):
        torch.manual_seed(3)
        model = MODELS.build(
            dict(type="UDASegmentor", segmentor=plain_config(dropout_ratio=0.1), **options)
        )
        model.init_weights()
        return model, torch.rand(())

    source_only, after = start(terms=dict(source=TERMS["source"]))
    head = dict(plain_config()["decode_head"], in_channels=16, in_index=2)
    adversarial, after_too = start(
        heads=dict(auxiliary=head), discriminators=dict(output=SMALL, auxiliary=SMALL)
    )
    assert torch.equal(after, after_too)
    for name, value in source_only.segmentor.state_dict().items():
        assert torch.equal(value, adversarial.segmentor.state_dict()[name]), name
    # The further head has the weights that MMSegmentation gives to classifiers.
    assert adversarial.heads["auxiliary"].conv_seg.weight.std() < 0.02
    assert (adversarial.heads["auxiliary"].conv_seg.bias == 0).all()


def test_where_discriminators_are_kept():
    model = build(discriminators=dict(output=SMALL))
    names = {name for name in model.state_dict() if name.startswith("discriminators.output.")}
    assert len(names) == 6
    model.add_teacher(dict(type="ExponentialMovingAverage"))
    assert not any("discriminator" in name for name in model.teacher.state_dict())
    plain = {name: value + 1 for name, value in model.segmentor.state_dict().items()}
    before = copy.deepcopy(model.discriminators.state_dict())
    found = model.load_state_dict(plain, strict=False)
    assert not found.unexpected_keys
    assert torch.equal(model.segmentor.backbone.conv1.weight, plain["backbone.conv1.weight"])
    assert all(torch.equal(v, before[n]) for n, v in model.discriminators.state_dict().items())
