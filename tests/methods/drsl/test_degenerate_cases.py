"""The losses of a step where a batch lacks something: finite values, connected to the graph, finite gradients."""

from types import SimpleNamespace

import pytest
import torch

import mmdrsl.methods.drsl.functional as F
from mmdrsl.methods.drsl.mmdl_head import MMDLHead
from mmdrsl.methods.drsl.mode_alignment import StochasticModeAlignmentLoss
from mmdrsl.methods.drsl.mode_maintenance_hook import (
    SAMPLES_PER_MODE,
    ModeMaintenanceHook,
    kmeans_representatives,
    revive_dead_modes,
)
from mmdrsl.methods.drsl.mode_metric import ModeMetricLoss
from mmdrsl.methods.drsl.source_sample import SourceSample

CLASSES, MODES, DIM, BANDWIDTH = 4, 3, 8, 0.3
# So narrow that every pixel draws its nearest mode.
NARROW = 1e-2


def unit(*shape, seed=0):
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)))


def domain(seed=0, classes=CLASSES, size=(12, 14)):
    embeddings = unit(2, *size, DIM, seed=seed).movedim(-1, 1).requires_grad_()
    generator = torch.Generator().manual_seed(seed)
    return embeddings, torch.randint(classes, (2, *size), generator=generator)


def losses(source, target, modes, **options):
    """Every loss of a step by name; backward through all of them."""
    values = {
        "balanced": ModeMetricLoss()(*target, modes, BANDWIDTH),
        "plain": ModeMetricLoss(class_balanced=False)(*target, modes, BANDWIDTH),
        "alignment": StochasticModeAlignmentLoss(**options)(*source, *target, modes, BANDWIDTH),
    }
    for name, value in values.items():
        assert value.isfinite(), name
        assert value.requires_grad, name
    sum(values.values()).backward()
    for tensor in (source[0], target[0], modes):
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()
    return values


def leaf_modes(num_modes=MODES, classes=CLASSES):
    return unit(classes, num_modes, DIM, seed=99).requires_grad_()


def test_absent_class():
    # The denominator is the number of classes that occur: class 1 does not.
    values, labels = torch.tensor([1.0, 3.0, 5.0]), torch.tensor([0, 0, 2])
    assert F.class_balanced_mean(values, labels, 3) == (2 + 5) / 2
    source, target = domain(0), domain(1)
    target[1][target[1] == 2] = 1
    losses(source, target, leaf_modes())


@pytest.mark.parametrize("side", ["source", "target", "both"])
def test_no_valid_target_pixel(side):
    source, target = domain(0), domain(1)
    for name, (_, labels) in (("source", source), ("target", target)):
        if side in (name, "both"):
            labels[:] = 255
    values = losses(source, target, leaf_modes())
    assert values["alignment"] == 0
    if side != "source":
        assert all(value == 0 for value in values.values())
        assert (target[0].grad == 0).all()


def test_one_class_only():
    source, target = domain(0), domain(1)
    target[1][:], source[1][:] = 2, 2
    modes = leaf_modes()
    losses(source, target, modes)
    # The negatives come from the representatives of classes that no pixel has.
    assert (modes.grad[[0, 1, 3]] != 0).any()


def test_mode_in_one_domain_only():
    source, target = domain(0), domain(1)
    modes = leaf_modes()
    with torch.no_grad():
        # Class 0: the source is at its mode 0, the target at its mode 1; all else is ignored.
        for (embeddings, labels), mode in ((source, 0), (target, 1)):
            labels[:] = 0
            embeddings[:] = modes[0, mode][:, None, None]
    value = StochasticModeAlignmentLoss()(*source, *target, modes, NARROW)
    value.backward()
    assert value == 0
    assert (target[0].grad == 0).all()


def test_fewer_pixels_than_modes():
    source, target = domain(0), domain(1)
    target[1][:] = 255
    target[1][0, 0, :2] = 1
    values = losses(source, target, leaf_modes())
    assert values["balanced"] > 0
    assert values["alignment"] == 0
    few = unit(MODES * SAMPLES_PER_MODE - 1, DIM)
    before = unit(CLASSES, MODES, DIM, seed=5)
    modes, replaced = kmeans_representatives(few, torch.zeros(len(few)).long(), before, seed=0)
    assert not replaced.any()
    assert torch.equal(modes, before)
    assert (modes.norm(dim=2) > 0.99).all()


def test_dead_mode(monkeypatch):
    head = MMDLHead(in_channels=2, num_classes=1, num_modes=2, embedding_dim=DIM)
    alive = unit(1, DIM)[0]
    with torch.no_grad():
        head.representatives[0, 0], head.representatives[0, 1] = alive, -alive
    vectors = F.normalize(alive + 0.3 * unit(60, DIM, seed=3))
    labels = torch.zeros(60, dtype=torch.long)
    _, replaced = revive_dead_modes(vectors, labels, head.modes().detach(), usage_floor=0.1)
    assert replaced.tolist() == [[False, True]]
    hook = ModeMaintenanceHook(kmeans_iteration=0, interval=5)
    monkeypatch.setattr(hook, "_sample", lambda *_: SourceSample(vectors, labels, torch.ones(1)))
    optimizer = torch.optim.AdamW([head.representatives])
    head.representatives.grad = torch.ones_like(head.representatives)
    optimizer.step()
    model = torch.nn.Module()
    model.heads = torch.nn.ModuleDict(dict(mmdl=head))
    runner = SimpleNamespace(
        model=model, seed=0, iter=4, logger=SimpleNamespace(info=lambda _: None),
        optim_wrapper=SimpleNamespace(optimizer=optimizer),
    )  # fmt: skip
    kept = head.representatives[0, 0].clone()
    hook.after_train_iter(runner, 0)
    state = optimizer.state[head.representatives]
    for name in ("exp_avg", "exp_avg_sq"):
        assert (state[name][0, 1] == 0).all()
        assert (state[name][0, 0] != 0).all()
    farthest = (vectors - F.normalize(kept)).square().sum(1).argmax()
    torch.testing.assert_close(head.representatives[0, 1], vectors[farthest])
    assert torch.equal(head.representatives[0, 0], kept)


@pytest.mark.parametrize("ignored", [255, -1, 250, CLASSES])
def test_every_ignored_value(ignored):
    source, target = domain(0), domain(1)
    drop = torch.rand(target[1].shape, generator=torch.Generator().manual_seed(0)) < 0.5
    target[1][drop] = ignored
    losses(source, target, leaf_modes(), max_pixels_per_class=10**6)
    gradient = target[0].grad.movedim(1, -1)
    assert (gradient[drop] == 0).all()
    assert (gradient[~drop] != 0).any()


def test_more_modes_than_a_byte_holds():
    classes, num_modes = 52, 5
    modes = leaf_modes(num_modes, classes)
    source, target = domain(0, classes, (50, 50)), domain(1, classes, (50, 50))
    with torch.no_grad():
        # Every pixel is at the first mode of its class; that of class 51 is number 255 among all modes.
        for embeddings, labels in (source, target):
            embeddings[:] = modes[labels, 0].movedim(-1, 1) + 0.01 * embeddings
    StochasticModeAlignmentLoss(min_pixels=2)(*source, *target, modes, NARROW).backward()
    touched = target[1][(target[0].grad != 0).any(dim=1)].unique()
    assert 255 in (touched * num_modes).tolist()
    assert touched.tolist() == list(range(classes))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    head = MMDLHead(in_channels=6, num_classes=CLASSES, hidden_channels=8, embedding_dim=DIM)
    features = torch.randn(4, 6, 12, 14)
    _, labels = domain(0)
    with torch.autocast("cpu", dtype=dtype):
        embeddings = head([features])
        assert embeddings.dtype == torch.float32
        source, target = embeddings[:2], embeddings[2:]
        for tensor in (source, target):
            tensor.retain_grad()
        modes = head.modes()
        modes.retain_grad()
        losses((source, labels), (target, labels), modes)
    for name, parameter in head.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.dtype == torch.float32


def test_zero_vector():
    source, target = domain(0), domain(1)
    modes = leaf_modes()
    with torch.no_grad():
        source[0][:, :, 3:] = 0
        target[0][:, :, :6] = 0
        modes[2] = 0
    raw = (source[0], target[0], modes)
    on_sphere = [F.normalize(x.movedim(1, -1)).movedim(-1, 1) for x in raw[:2]]
    sphere_modes = F.normalize(modes)
    for tensor in (*on_sphere, sphere_modes):
        tensor.retain_grad()
    losses((on_sphere[0], source[1]), (on_sphere[1], target[1]), sphere_modes)
    assert all(tensor.grad.isfinite().all() for tensor in raw)


def test_one_mode_per_class():
    source, target = domain(0), domain(1)
    modes = leaf_modes(1)
    losses(source, target, modes)
    # One mode leaves nothing to use evenly and nothing to keep apart.
    assert F.mode_spread_penalty(modes) == 0
    shares = torch.ones(80, 1)
    assert F.mode_usage_penalty(shares, torch.zeros(80, dtype=torch.long), CLASSES) == 0
