"""Hooks that look at the modes between steps: memory and monitors."""

import copy
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from mmdrsl.engine.hooks.mode_memory_hook import ModeMemoryHook
from mmengine.logging import MessageHub
from torch import nn

from mmdrsl.methods.drsl.mmdl_head import MMDLHead
from mmdrsl.methods.drsl.mode_maintenance_hook import ModeMaintenanceHook
from mmdrsl.methods.drsl.mode_monitor_hook import ModeMonitorHook, mode_figures
from mmdrsl.methods.drsl.source_sample import embed_source_sample, find_mode_head

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "models"))
import test_drsl_head
from test_uda_segmentor import CLASSES, MODES, batch, build

NAMES = ("road", "sky", "car")


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


def with_memory(model, size=4):
    model.heads["mmdl"] = MMDLHead(
        in_channels=32, num_classes=CLASSES, num_modes=MODES, hidden_channels=16, embedding_dim=8,
        memory_size=size,
    )  # fmt: skip
    return model


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
    plain = test_drsl_head.build()
    assert find_mode_head(plain, "mmdl") is plain.decode_head.mmdl_head
    for wrong in (nn.Module(), plain.backbone):
        with pytest.raises(ValueError, match=r"model\.heads\.mmdl, found \[\]"):
            find_mode_head(wrong, "mmdl")


def test_memory_is_written_at_intervals():
    model = with_memory(build())
    head = model.heads["mmdl"]
    hook = ModeMemoryHook(interval=3, num_images=2)
    hook.before_train(runner_of(model))
    assert head.memory_followed
    written = []
    for iteration in range(6):
        hook.after_train_iter(runner_of(model, iteration), 0)
        written.append(int(head.memory_written.sum()))
    assert written[:2] == [0, 0]
    assert 0 < written[2] == written[4] < written[5]
    vectors, groups = head.remembered()
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(len(vectors)))
    distances = (vectors[:, None, None] - head.modes()).square().sum(-1)
    own = distances[torch.arange(len(groups)), groups // MODES].argmin(dim=1)
    assert torch.equal(own, groups % MODES)
    assert set((groups // MODES).tolist()) == set(range(CLASSES))


def test_memory_is_a_ring():
    head = MMDLHead(in_channels=2, num_classes=2, num_modes=1, embedding_dim=3, memory_size=3)
    rows = F.normalize(torch.randn(8, 3, generator=torch.Generator().manual_seed(0)), dim=1)
    head.remember(rows[:2], torch.tensor([1, 1]))
    assert torch.equal(head.remembered()[0], rows[:2])
    assert head.remembered()[1].tolist() == [1, 1]
    head.remember(rows[2:4], torch.tensor([1, 1]))
    assert {tuple(row) for row in head.remembered()[0].tolist()} == {
        tuple(row) for row in rows[1:4].tolist()
    }
    head.remember(rows[4:], torch.ones(4, dtype=torch.long))
    assert {tuple(row) for row in head.remembered()[0].tolist()} == {
        tuple(row) for row in rows[5:].tolist()
    }
    copied = MMDLHead(in_channels=2, num_classes=2, num_modes=1, embedding_dim=3, memory_size=3)
    copied.load_state_dict(head.state_dict())
    assert torch.equal(copied.remembered()[0], head.remembered()[0])
    head.forget(torch.tensor([[False], [True]]))
    assert len(head.remembered()[0]) == 0


def test_memory_must_exist():
    with pytest.raises(ValueError, match="memory_size is 0"):
        ModeMemoryHook().before_train(runner_of(build()))
    head = build().heads["mmdl"]
    assert not any("memory" in name for name in head.state_dict())
    for call in (head.remembered, lambda: head.remember(torch.zeros(1, 8), torch.tensor([0]))):
        with pytest.raises(ValueError, match="set its memory_size above 0"):
            call()
    head.forget(torch.ones(CLASSES, MODES, dtype=torch.bool))


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
    model = test_drsl_head.build()
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


def test_hooks_refuse():
    with pytest.raises(ValueError, match="interval must be >= 1"):
        ModeMonitorHook(interval=0)
    with pytest.raises(ValueError, match="ModeMemoryHook needs interval"):
        ModeMemoryHook(num_images=0)
    with pytest.raises(TypeError, match="needs a UDASegmentor, found EncoderDecoder"):
        ModeMonitorHook().before_train(runner_of(test_drsl_head.build()))
