import copy

import pytest
import torch
from torch import nn

from mmdrsl.models.batch_norm import (
    batch_statistics,
    calibrate_running_statistics,
    evaluation_pass,
    frozen_statistics,
    running_statistics_of_target,
)


def network():
    torch.manual_seed(0)
    return nn.ModuleDict(
        dict(
            first=nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5)),
            second=nn.Sequential(nn.Conv2d(4, 5, 1), nn.BatchNorm2d(5)),
            unused=nn.BatchNorm2d(7),
        )
    ).train()


def batches(count=3):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(4, 3, 8, 8, generator=generator) * 2 + 1 for _ in range(count)]


def run(model, images):
    return model["second"](model["first"](images))


def test_calibration_is_the_mean_over_batches():
    model = network()
    before = copy.deepcopy(model)
    run(model, torch.zeros(2, 3, 8, 8))
    weights = {name: value.clone() for name, value in model.named_parameters()}
    calibrate_running_statistics(model, lambda images: run(model, images), batches())
    # By hand, without the layers' own bookkeeping and without dropout.
    expected = dict(mean=[], var=[])
    for images in batches():
        first = before["first"][0](images)
        mean, var = first.mean((0, 2, 3)), first.var((0, 2, 3), unbiased=False)
        normalized = (first - mean[:, None, None]) / (var[:, None, None] + 1e-5).sqrt()
        second = before["second"][0](normalized.relu())
        expected["mean"].append(second.mean((0, 2, 3)))
        expected["var"].append(second.var((0, 2, 3), unbiased=True))
    layer = model["second"][1]
    assert torch.allclose(layer.running_mean, torch.stack(expected["mean"]).mean(0), atol=1e-5)
    assert torch.allclose(layer.running_var, torch.stack(expected["var"]).mean(0), atol=1e-5)
    assert all(torch.equal(weights[name], value) for name, value in model.named_parameters())


def test_calibration_restores_modes_and_leaves_unreached_and_frozen_layers():
    model = network()
    model["second"].eval()
    model["unused"].running_mean.fill_(3.0)
    frozen = copy.deepcopy(model["second"][1].state_dict())
    modes = [module.training for module in model.modules()]
    momenta = [m.momentum for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    calibrate_running_statistics(model, lambda images: run(model, images), batches())
    assert modes == [module.training for module in model.modules()]
    assert momenta == [m.momentum for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert torch.equal(model["unused"].running_mean, torch.full((7,), 3.0))
    for name, value in model["second"][1].state_dict().items():
        assert torch.equal(frozen[name], value)


def test_calibration_twice_changes_nothing():
    model = network()
    calibrate_running_statistics(model, lambda images: run(model, images), batches())
    once = copy.deepcopy(model.state_dict())
    calibrate_running_statistics(model, lambda images: run(model, images), batches())
    assert all(torch.equal(once[name], value) for name, value in model.state_dict().items())


def test_a_weight_gives_the_statistics_of_a_mixture():
    generator = torch.Generator().manual_seed(2)
    old = torch.randn(2000, 4, generator=generator, dtype=torch.double) * 3 - 2
    new = torch.randn(1, 4, 40, 50, generator=generator) + torch.arange(4)[:, None, None]
    layer = nn.BatchNorm2d(4)
    layer.running_mean.copy_(old.mean(0))
    layer.running_var.copy_(old.var(0))
    calibrate_running_statistics(layer, layer, [new], weight=0.25)
    # Three of the old samples beside each new one, in one pile.
    pile = torch.cat([old, old, old, new[0].flatten(1).T])
    assert torch.allclose(layer.running_mean.double(), pile.mean(0), atol=1e-4)
    assert torch.allclose(layer.running_var.double(), pile.var(0), rtol=1e-3)


@pytest.mark.parametrize(
    ("domain", "present", "moves"),
    [
        ("source", {"source", "target"}, False),
        ("source", {"source"}, True),
        ("target", {"source", "target"}, True),
    ],
)
def test_whose_statistics_are_kept(domain, present, moves):
    model = network()
    layer = model["first"][1]
    with running_statistics_of_target(model, domain, present):
        output = run(model, batches(1)[0])
    assert bool((layer.running_mean != 0).any()) is moves
    # Normalized by the batch itself either way.
    assert torch.allclose(output.mean((0, 2, 3)), torch.zeros(5), atol=1e-5)
    assert layer.momentum == 0.1


def test_frozen_statistics_leave_frozen_layers_alone():
    model = network()
    model["second"].eval()
    run(model, batches(1)[0])
    before = copy.deepcopy(model.state_dict())
    modes = [module.training for module in model.modules()]
    with frozen_statistics(model):
        # Dropout goes on: only normalization is that of prediction.
        assert model["first"][3].training
        layer = model["first"][1]
        images = model["first"][0](batches(2)[1])
        by_hand = (images - layer.running_mean[:, None, None]) / (
            layer.running_var[:, None, None] + 1e-5
        ).sqrt()
        assert torch.allclose(layer(images), by_hand, atol=1e-5)
    assert modes == [module.training for module in model.modules()]
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("of_teacher", [False, True])
def test_batch_statistics_leave_frozen_layers_alone(of_teacher):
    student = network()
    student["second"].eval()
    model = copy.deepcopy(student).eval() if of_teacher else student
    before = copy.deepcopy(model.state_dict())
    modes = [module.training for module in model.modules()]
    images = batches(1)[0]
    with batch_statistics(model, like=student), torch.no_grad():
        normalized = model["first"][1](model["first"][0](images))
        output = run(model, images)
    # Zero mean is the mark of the batch's own statistics.
    assert torch.allclose(normalized.mean((0, 2, 3)), torch.zeros(4), atol=1e-5)
    assert not torch.allclose(output.mean((0, 2, 3)), torch.zeros(5), atol=1e-2)
    assert modes == [module.training for module in model.modules()]
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("bn_mode", ["joint", "domain_specific", "frozen"])
def test_looking_changes_nothing(bn_mode):
    model = network()
    model.bn_mode = bn_mode
    run(model, batches(1)[0])
    before = copy.deepcopy(model.state_dict())
    with evaluation_pass(model), torch.no_grad():
        output = run(model, batches(2)[1])
    apart = bn_mode == "domain_specific"
    # Zero mean is the mark of the batch's own statistics.
    assert torch.allclose(output.mean((0, 2, 3)), torch.zeros(5), atol=1e-5) is apart
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize("apart", [False, True])
def test_synchronized_layers_ask_no_other_rank(monkeypatch, apart):
    # Ranks may have batches of other numbers here, or, in what one rank does alone, none.
    plain = network()
    synchronized = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(plain))
    asked = []
    monkeypatch.setattr(nn.SyncBatchNorm, "forward", lambda *args: asked.append(args))
    found = []
    for model in (plain, synchronized):
        model.bn_mode = "domain_specific"
        if apart:
            with evaluation_pass(model), torch.no_grad():
                found.append(run(model, batches()[0]))
        else:
            calibrate_running_statistics(
                model, lambda images, own=model: run(own, images), batches()
            )
            found.append(model["second"][1].running_var)
    assert torch.equal(*found)
    assert not asked
    # Training goes on together.
    synchronized["second"][1](torch.zeros(1))
    assert len(asked) == 1
