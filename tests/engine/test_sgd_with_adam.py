"""The mixed optimizer against PyTorch's two."""

import copy

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

from mmdrsl.engine.optimizers.sgd_with_adam import SGDWithAdam

SGD = dict(lr=0.1, momentum=0.9, weight_decay=0.01)
ADAM = dict(lr=0.02, betas=(0.9, 0.99), weight_decay=0.003)


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.network = nn.Linear(3, 4)
        self.discriminators = nn.ModuleDict(dict(output=nn.Linear(4, 1)))

    def forward(self, inputs):
        return self.discriminators["output"](self.network(inputs).tanh())


def groups(model):
    return [dict(params=model.network.parameters(), **SGD),
            dict(params=model.discriminators.parameters(), **ADAM)]  # fmt: skip


def train(model, optimizers, steps):
    for step in steps:
        inputs = torch.randn(5, 3, generator=torch.Generator().manual_seed(step))
        for optimizer in optimizers:
            optimizer.zero_grad()
        model(inputs).square().mean().backward()
        for optimizer in optimizers:
            optimizer.step()


def test_equals_both_of_pytorch():
    torch.manual_seed(0)
    mixed = Pair()
    plain = copy.deepcopy(mixed)
    sgd, adam = groups(plain)
    train(mixed, [SGDWithAdam(groups(mixed), lr=1.0)], range(7))
    train(plain, [torch.optim.SGD([sgd]), torch.optim.Adam([adam])], range(7))
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(mixed.state_dict()[name], value, rtol=1e-5, atol=1e-7)


def test_continues_from_its_state(tmp_path):
    torch.manual_seed(0)
    whole = Pair()
    parts = copy.deepcopy(whole)
    train(whole, [SGDWithAdam(groups(whole), lr=1.0)], range(6))
    first = SGDWithAdam(groups(parts), lr=1.0)
    train(parts, [first], range(3))
    torch.save(first.state_dict(), tmp_path / "state.pth")
    second = SGDWithAdam(groups(parts), lr=1.0)
    second.load_state_dict(torch.load(tmp_path / "state.pth", weights_only=True))
    train(parts, [second], range(3, 6))
    for name, value in whole.state_dict().items():
        assert torch.equal(parts.state_dict()[name], value)


def test_built_as_configs_do():
    keys = dict(discriminators=dict(lr_mult=0.2, decay_mult=0.0, betas=(0.9, 0.99)))
    model = Pair()
    wrapper = build_optim_wrapper(
        model,
        dict(optimizer=dict(type="SGDWithAdam", **SGD), paramwise_cfg=dict(custom_keys=keys)),
    )
    for group in wrapper.optimizer.param_groups:
        of_discriminator = group["params"][0].shape[0] == 1
        assert (group["betas"] == (0.9, 0.99)) is of_discriminator
        assert group["lr"] == pytest.approx(0.02 if of_discriminator else 0.1)
        assert group["weight_decay"] == (0 if of_discriminator else 0.01)
    before = copy.deepcopy(model.state_dict())
    wrapper.update_params(model(torch.randn(2, 3)).sum())
    assert all(not torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_parameters_without_gradient_stay():
    model = Pair()
    optimizer = SGDWithAdam(groups(model), lr=1.0)
    model.network(torch.randn(2, 3)).sum().backward()
    before = copy.deepcopy(model.discriminators.state_dict())
    optimizer.step()
    assert all(torch.equal(v, before[n]) for n, v in model.discriminators.state_dict().items())
    # Its first own step is Adam's first, however long the warm-up was.
    assert not any(p in optimizer.state for p in model.discriminators.parameters())


@pytest.mark.parametrize("options", [dict(lr=-1.0), dict(lr=0.1, momentum=1.0)])
def test_values_out_of_range(options):
    with pytest.raises(ValueError, match="found"):
        SGDWithAdam(Pair().parameters(), **options)
