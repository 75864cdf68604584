"""Hooks that act on the modes between steps: seeding, revival, monitors."""

import copy
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from mmengine.logging import MessageHub
from mmseg.registry import HOOKS
from tiny_adaptor import CLASSES, MODES, batch, build, build_drsl_segmentor
from torch import nn

from mmdrsl.methods.drsl.mmdl_head import MMDLHead
from mmdrsl.methods.drsl.mode_maintenance_hook import (
    SAMPLES_PER_MODE,
    ModeMaintenanceHook,
    kmeans_representatives,
    revive_dead_modes,
)
from mmdrsl.methods.drsl.mode_monitor_hook import ModeMonitorHook, mode_figures
from mmdrsl.methods.drsl.source_sample import SourceSample, embed_source_sample, find_mode_head

NAMES = ("road", "sky", "car")
AXES = torch.eye(6)


class Source:
    """Source images as a plain dataset; `loaded` records which were asked for."""

    metainfo = dict(classes=NAMES)

    def __init__(self, size=6):
        self.size = size
        self.loaded = []

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        self.loaded.append(index)
        packed = batch("source", seed=index)
        return dict(inputs=packed["inputs"][0], data_samples=packed["data_samples"][0])


def runner_of(model, iteration=0, dataset=None):
    return SimpleNamespace(
        model=model,
        seed=1,
        iter=iteration,
        train_dataloader=SimpleNamespace(dataset=dataset or Source()),
        message_hub=MessageHub("monitor"),
    )


def test_source_sample_is_a_function_of_seed_and_iteration():
    model = build()
    before = copy.deepcopy(model.state_dict())
    options = dict(num_images=3, max_pixels_per_class=5)
    samples, images = [], []
    for iteration in (4, 4, 5):
        torch.rand(iteration)
        dataset = Source()
        runner = runner_of(model, dataset=dataset)
        samples.append(
            embed_source_sample(runner, model.heads["mmdl"], iteration=iteration, **options)
        )
        images.append(dataset.loaded)
    assert images[0] == images[1] != images[2]
    assert len(set(images[0])) == 3
    assert torch.equal(samples[0][0], samples[1][0])
    assert torch.bincount(samples[0][1], minlength=CLASSES).max() <= 5
    assert samples[0].class_frequency.sum().item() == pytest.approx(1)
    assert (samples[0].class_frequency > 0).all()
    torch.testing.assert_close(samples[0][0].norm(dim=1), torch.ones(len(samples[0][0])))
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_find_mode_head():
    model = build()
    assert find_mode_head(model, "mmdl") is model.heads["mmdl"]
    plain = build_drsl_segmentor()
    assert find_mode_head(plain, "mmdl") is plain.decode_head.mmdl_head
    for wrong in (nn.Module(), plain.backbone):
        with pytest.raises(ValueError, match=r"model\.heads\.mmdl, found \[\]"):
            find_mode_head(wrong, "mmdl")


def test_figures_of_a_batch():
    model = build()
    before = copy.deepcopy(model.state_dict())
    data = batch("source", "source", "target", "target")
    found = mode_figures(model, model.heads["mmdl"], data, NAMES)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())

    model.eval()
    inputs = (torch.stack(data["inputs"]).float() - 100) / 50
    labels = torch.cat([item.gt_sem_seg.data for item in data["data_samples"]])[:, 4::8, 4::8]
    features = model.extract_feat(inputs)
    head = model.heads["mmdl"]
    embeddings = head(features).movedim(1, -1)
    predicted = model.decode_head(features).argmax(1)
    d2 = (embeddings[..., None, None, :] - head.modes()).square().sum(-1)
    second = (-d2 / (2 * head.bandwidth**2)).exp().sum(-1).argmax(-1)
    for name, part in (("source", slice(0, 2)), ("target", slice(2, 4))):
        agreement = (second[part] == predicted[part]).float().mean()
        assert found[f"agreement_{name}"] == pytest.approx(agreement.item())
    kept = labels[2:] != 255
    assert found["kept_share"] == pytest.approx(kept.float().mean().item())
    nearest = d2.argmin(-1)
    gaps = []
    for c, name in enumerate(NAMES):
        if (predicted[2:] == c).any():
            share = kept[predicted[2:] == c].float().mean()
            assert found[f"kept_share.{name}"] == pytest.approx(share.item())
        own = []
        for k in range(MODES):
            member = (labels == c) & (nearest[..., c] == k)
            if member[:2].any() and member[2:].any():
                pair = [
                    embeddings[part][member[part]].mean(0) for part in (slice(0, 2), slice(2, 4))
                ]
                own.append((pair[0] - pair[1]).square().sum())
        if own:
            gaps.append(torch.stack(own).mean().item())
            assert found[f"centroid_gap.{name}"] == pytest.approx(gaps[-1], rel=1e-3)
    assert found["centroid_gap"] == pytest.approx(sum(gaps) / len(gaps), rel=1e-3)
    assert 0 < found["usage_entropy"] <= 1
    assert found["within_variance_source"] > 0
    assert not any("loss" in name for name in found)


def test_figures_without_target_and_with_one_mode():
    model = build()
    head = MMDLHead(in_channels=32, num_classes=CLASSES, num_modes=1, hidden_channels=16)
    found = mode_figures(model, head, batch("source", "source"), NAMES)
    assert set(found) == {"agreement_source", "within_variance_source"}


def test_figures_of_images_of_different_sizes():
    # The preprocessor pads images and labels; a hook sees the batch after the step has padded its own copy.
    model = build()
    data = batch("source", "target")
    data["inputs"][1] = data["inputs"][1][:, :40, :56]
    label = data["data_samples"][1].gt_sem_seg
    data["data_samples"][1].gt_sem_seg = type(label)(data=label.data[:, :40, :56])
    model.loss(**model.data_preprocessor(data, True))
    first = mode_figures(model, model.heads["mmdl"], data, NAMES)
    assert first == mode_figures(model, model.heads["mmdl"], data, NAMES)
    # A padded pixel is no kept one.
    kept = (label.data[:, 4:40:8, 4:56:8] != 255).sum().item() / 64
    assert first["kept_share"] == pytest.approx(kept)


def test_maintenance_looks_after_a_plain_segmentor():
    model = build_drsl_segmentor()
    head = model.decode_head.mmdl_head
    before = head.representatives.detach().clone()
    runner = runner_of(model, iteration=0)
    runner.logger = SimpleNamespace(info=lambda _: None)
    runner.optim_wrapper = SimpleNamespace(optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
    hook = ModeMaintenanceHook(kmeans_iteration=1)
    hook.before_train(runner)
    hook.after_train_iter(runner, 0)
    moved = (head.representatives != before).all(dim=2)
    assert moved.all(dim=1).any()
    sample = embed_source_sample(runner, head, iteration=1, num_images=32, max_pixels_per_class=10)
    assert torch.equal(head.class_frequency, sample.class_frequency)
    assert head.class_frequency.unique().numel() > 1
    torch.testing.assert_close(
        head.representatives[moved].norm(dim=1), torch.ones(int(moved.sum()))
    )
    assert model.training


@pytest.mark.parametrize("per_class", [True, False])
def test_monitor_logs_at_intervals(per_class):
    hook = ModeMonitorHook(interval=2, per_class=per_class)
    model = build()
    hook.before_train(runner_of(model))
    data = batch("source", "target")
    runner = runner_of(model, 0)
    hook.after_train_iter(runner, 0, data)
    assert not runner.message_hub.log_scalars
    runner = runner_of(model, 1)
    hook.after_train_iter(runner, 1, data)
    names = set(runner.message_hub.log_scalars)
    assert "train/modes/usage_entropy" in names
    assert any("." in name for name in names) == per_class


def test_monitor_refuses():
    with pytest.raises(ValueError, match="interval must be >= 1"):
        ModeMonitorHook(interval=0)
    with pytest.raises(TypeError, match="needs a UDASegmentor, found EncoderDecoder"):
        ModeMonitorHook().before_train(runner_of(build_drsl_segmentor()))


def clusters(centers, sizes, noise=0.02, seed=0):
    """Unit vectors around unit centers; `sizes` counts the members of each."""
    generator = torch.Generator().manual_seed(seed)
    members = torch.cat(
        [center.repeat(size, 1) for center, size in zip(centers, sizes, strict=True)]
    )
    noisy = members + noise * torch.randn(members.shape, generator=generator)
    return F.normalize(noisy, dim=1)


def test_kmeans_recovers_clusters():
    modes = F.normalize(torch.randn(3, 2, 6, generator=torch.Generator().manual_seed(0)), dim=-1)
    few = 2 * SAMPLES_PER_MODE - 1
    embeddings = torch.cat(
        [clusters(AXES[:2], (30, 40)), clusters(AXES[2:3], (few,)), clusters(AXES[4:6], (50, 25))]
    )
    labels = torch.tensor([0] * 70 + [1] * few + [2] * 75)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))
    before = modes.clone()
    renewed, replaced = kmeans_representatives(embeddings[order], labels[order], modes, seed=0)
    assert torch.equal(modes, before)
    assert replaced.tolist() == [[True, True], [False, False], [True, True]]
    assert torch.equal(renewed[1], modes[1])
    assert renewed.dtype == modes.dtype
    torch.testing.assert_close(renewed.norm(dim=-1), torch.ones(3, 2))
    for c, wanted in ((0, AXES[:2]), (2, AXES[4:6])):
        cosines = renewed[c] @ wanted.t()
        assert sorted(cosines.argmax(dim=1).tolist()) == [0, 1]
        assert (cosines.amax(dim=1) > 0.999).all()
    again, _ = kmeans_representatives(embeddings[order], labels[order], modes, seed=0)
    assert torch.equal(again, renewed)


def test_exactly_the_dead_modes_move():
    modes = torch.stack([AXES[[0, 1, 5]], AXES[[2, 3, 5]], AXES[[0, 1, 5]]])
    outliers = F.normalize(AXES[4] + 0.1 * AXES[0], dim=0)[None]
    embeddings = torch.cat(
        [
            clusters(AXES[:2], (40, 40)),
            outliers,
            clusters(AXES[[2, 3, 5]], (30, 30, 30)),
            clusters(AXES[:1], (3 * SAMPLES_PER_MODE - 1,)),
        ]
    )
    labels = torch.tensor([0] * 81 + [1] * 90 + [2] * (3 * SAMPLES_PER_MODE - 1))
    before = modes.clone()
    renewed, replaced = revive_dead_modes(embeddings, labels, modes, usage_floor=0.1)
    assert torch.equal(modes, before)
    assert replaced.tolist() == [[False, False, True], [False] * 3, [False] * 3]
    torch.testing.assert_close(renewed[0, 2], outliers[0])
    assert torch.equal(renewed[~replaced], modes[~replaced])


def test_several_dead_modes_move_to_different_pixels():
    modes = AXES[[0, 4, 5]][None]
    embeddings = clusters(AXES[:1], (50,), noise=0.2)
    renewed, replaced = revive_dead_modes(
        embeddings, torch.zeros(50, dtype=torch.long), modes, usage_floor=0.1
    )
    assert replaced.tolist() == [[False, True, True]]
    distance = (embeddings - AXES[0]).square().sum(1)
    farthest = embeddings[distance.topk(2).indices]
    assert {tuple(row) for row in renewed[0, 1:].tolist()} == {
        tuple(row) for row in farthest.tolist()
    }


def hook_runner(heads, iteration=0):
    model = nn.Module()
    if heads is not None:
        model.heads = nn.ModuleDict(heads)
    return SimpleNamespace(model=model, seed=0, iter=iteration)


@pytest.mark.parametrize("heads", [None, {}, {"mmdl": nn.Identity()}])
def test_mode_maintenance_needs_the_head(heads):
    with pytest.raises(ValueError, match=r"looks after model\.heads\.mmdl, found"):
        ModeMaintenanceHook().before_train(hook_runner(heads))


def test_mode_maintenance_steps(monkeypatch):
    head = MMDLHead(in_channels=2, num_classes=1, num_modes=2, embedding_dim=6, hidden_channels=2)
    ModeMaintenanceHook().before_train(hook_runner(dict(mmdl=head)))
    hook = HOOKS.build(dict(type="ModeMaintenanceHook", kmeans_iteration=4, interval=3))
    optimizer = torch.optim.SGD([head.representatives], lr=0.1, momentum=0.9)
    sampled = []

    def sample(runner, iteration):
        sampled.append(iteration)
        return SourceSample(clusters(AXES[:2], (40, 40)), torch.zeros(80).long(), torch.ones(1))

    monkeypatch.setattr(hook, "_sample", sample)
    for iteration in range(11):
        runner = hook_runner(dict(mmdl=head), iteration)
        runner.optim_wrapper = SimpleNamespace(optimizer=optimizer)
        runner.logger = SimpleNamespace(info=lambda _: None)
        optimizer.state[head.representatives]["momentum_buffer"] = torch.ones(1, 2, 6)
        if iteration == 6:
            head.representatives.data[0, 1] = -AXES[0]
        hook.after_train_iter(runner, 0)
        momentum = optimizer.state[head.representatives]["momentum_buffer"][0]
        wanted = {3: [0, 0], 6: [1, 0]}.get(iteration, [1, 1])
        assert momentum.amax(dim=1).tolist() == momentum.amin(dim=1).tolist() == wanted
    assert sampled == [4, 7, 10]
    assert (head.modes()[0] @ AXES[:2].t()).amax(dim=1).min() > 0.95


def test_a_teacher_that_has_begun_gets_frequencies_and_revived_modes(monkeypatch):
    def head():
        return MMDLHead(
            in_channels=2, num_classes=1, num_modes=2, embedding_dim=6, hidden_channels=2
        )

    own, copied = head(), head()
    hook = ModeMaintenanceHook(kmeans_iteration=1, interval=2)
    frequency = torch.tensor([0.3])
    sample = SourceSample(clusters(AXES[:2], (40, 40)), torch.zeros(80).long(), frequency)
    monkeypatch.setattr(hook, "_sample", lambda *_: sample)
    steps = torch.tensor(0)
    found = []
    for iteration in range(3):
        runner = hook_runner(dict(mmdl=own), iteration)
        runner.model.teacher = SimpleNamespace(
            steps=steps, module=nn.ModuleDict(dict(heads=nn.ModuleDict(dict(mmdl=copied))))
        )
        runner.optim_wrapper = SimpleNamespace(optimizer=torch.optim.SGD([own.representatives]))
        runner.logger = SimpleNamespace(info=lambda _: None)
        copied.class_frequency.fill_(1)
        copied.representatives.data.zero_()
        # Dead, where it is the turn of the search.
        own.representatives.data[0, 1] = -AXES[0]
        hook.after_train_iter(runner, 0)
        found.append((float(copied.class_frequency), copied.representatives.any(dim=2).tolist()))
        steps.fill_(1)
    nothing = (1, [[False, False]])
    # Seeded before the teacher began; nothing is due; revived.
    assert found == [nothing, nothing, (pytest.approx(0.3), [[False, True]])]
