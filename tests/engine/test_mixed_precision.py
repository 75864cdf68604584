import pytest
import torch
from mmcv.cnn import ConvModule
from mmengine.config import ConfigDict
from mmengine.optim import build_optim_wrapper
from tiny_adaptor import TERMS, batch, build
from torch import nn

from mmdrsl.engine import launch
from mmdrsl.engine.optimizers.float32_convolutions import (
    Float32Convolution,
    use_float32_where_faster,
)

ONE = dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=0.1))


def test_on_a_cpu_it_is_bfloat16_without_a_scale(monkeypatch):
    monkeypatch.setattr(launch, "get_device", lambda: "cpu")
    several = ConfigDict(
        constructor="mmagic.MultiOptimWrapperConstructor",
        generators=dict(ONE, loss_scale=512.0),
        discriminators=dict(ONE, dtype="bfloat16"),
    )
    launch.use_mixed_precision(several)
    expected = dict(ONE, type="CPUAmpOptimWrapper")
    assert (several.generators, several.discriminators) == (expected, expected)
    with pytest.raises(ValueError, match=r"on a CPU is bfloat16, found .*'float16'"):
        launch.use_mixed_precision(ConfigDict(ONE, dtype="float16"))


def test_a_step_in_bfloat16_is_near_one_in_float32():
    found = {}
    for kind in ("OptimWrapper", "CPUAmpOptimWrapper"):
        # Other terms choose pixels by scores, where rounding decides.
        model = build(terms={name: TERMS[name] for name in ("source", "target")})
        seen = []
        model.segmentor.decode_head.conv_seg.register_forward_hook(
            lambda *call, seen=seen: seen.append(call[2].dtype)
        )
        # Gradients, as the step of plain descent applies them.
        optimizer = dict(type="SGD", lr=1.0)
        wrapper = build_optim_wrapper(model, dict(type=kind, optimizer=optimizer))
        before = {name: value.detach().clone() for name, value in model.named_parameters()}
        torch.manual_seed(3)
        values = model.train_step(batch("source", "source", "target", "target"), wrapper)
        after = dict(model.named_parameters())
        assert all(value.dtype == torch.float32 for value in after.values())
        moved = torch.cat([(after[name] - value).flatten() for name, value in before.items()])
        found[kind] = (seen[0], float(values["loss"]), moved)
    (dtype, loss, moved), (other_dtype, other_loss, other_moved) = found.values()
    assert (dtype, other_dtype) == (torch.float32, torch.bfloat16)
    # A number of bfloat16 has eight bits.
    assert loss != other_loss == pytest.approx(loss, rel=2e-2)
    # Normalization over few pixels amplifies rounding in gradients.
    assert torch.cosine_similarity(moved, other_moved, dim=0) > 0.85


def convolutions():
    return nn.Sequential(
        nn.Conv2d(3, 8, 1),
        nn.Conv2d(8, 8, 3, padding=1, groups=8),
        nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8),
        ConvModule(8, 8, 3, dilation=2, padding=2, groups=8),
        nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=2),
    )


def test_depthwise_convolutions_with_stride_or_dilation_run_in_float32():
    torch.manual_seed(0)
    model = convolutions()
    use_float32_where_faster(model)
    use_float32_where_faster(model)
    chosen = [isinstance(module, Float32Convolution) for module in model]
    assert chosen == [False, False, True, False, False]
    assert isinstance(model[3].conv, Float32Convolution)
    plain = convolutions()
    plain.load_state_dict(model.state_dict())
    images = torch.randn(2, 3, 16, 16)
    assert torch.equal(model(images), plain(images))
    hidden = plain[:2](images)
    with torch.autocast("cpu", torch.bfloat16):
        found = model[2](hidden.bfloat16())
        rounded = plain[2](hidden.bfloat16())
    assert found.dtype == rounded.dtype == torch.bfloat16
    # Single precision throughout, and one rounding at the end.
    assert torch.equal(found, plain[2](hidden.bfloat16().float()).bfloat16())
    found.float().square().sum().backward()
    assert model[2].weight.grad.dtype == torch.float32


def test_one_optimizer_and_several(monkeypatch):
    monkeypatch.setattr(launch, "get_device", lambda: "cuda")
    one = ConfigDict(ONE)
    launch.use_mixed_precision(one)
    assert one == dict(ONE, type="AmpOptimWrapper", loss_scale="dynamic")
    # MMEngine's default type may be left out.
    untyped = ConfigDict(optimizer=ONE["optimizer"])
    launch.use_mixed_precision(untyped)
    assert untyped == one
    several = ConfigDict(
        constructor="mmagic.MultiOptimWrapperConstructor",
        generators=ONE,
        discriminators=dict(ONE, loss_scale=512.0),
    )
    launch.use_mixed_precision(several)
    assert several == dict(
        constructor="mmagic.MultiOptimWrapperConstructor",
        generators=dict(ONE, type="AmpOptimWrapper", loss_scale="dynamic"),
        discriminators=dict(ONE, type="AmpOptimWrapper", loss_scale=512.0),
    )
    with pytest.raises(ValueError, match="found ApexOptimWrapper"):
        launch.use_mixed_precision(ConfigDict(ONE, type="ApexOptimWrapper"))
