import random
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.logging import MMLogger
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch import nn
from torch.utils.data import Dataset

from mmdrsl.engine.hooks.self_training_hook import Phase, SelfTrainingHook, build_phases
from mmdrsl.engine.hooks.step_seed_hook import StepSeedHook
from mmdrsl.methods.drsl.mmdl_head import MMDLHead
from mmdrsl.methods.drsl.mode_maintenance_hook import (
    SAMPLES_PER_MODE,
    ModeMaintenanceHook,
    kmeans_representatives,
    revive_dead_modes,
)
from mmdrsl.methods.drsl.source_sample import SourceSample

ROUND = dict(iterations=4, portion=0.2, target_share=0.5)


def test_phases_fill_the_run():
    rounds = [ROUND, dict(iterations=6, portion=0.25, target_share=1.0)]
    assert build_phases(10, rounds, 20) == [
        Phase(0, 0, 10, 0.0, None, labeled=False),
        Phase(1, 10, 14, 0.5, 0.2),
        Phase(2, 14, 20, 1.0, 0.25),
    ]


def test_phases_with_their_own_rate_and_restart():
    assert build_phases(1, [dict(ROUND, lr_factor=0.5), dict(ROUND, restart=True)], 9) == [
        Phase(0, 0, 1, 0.0, None, labeled=False),
        Phase(1, 1, 5, 0.5, 0.2, lr_factor=0.5),
        Phase(2, 5, 9, 0.5, 0.2, restart=True),
    ]


def test_a_phase_without_labels():
    rounds = [dict(iterations=4, target_share=0.5, labeled=False)]
    assert build_phases(0, rounds, 4) == [Phase(1, 0, 4, 0.5, None, labeled=False)]
    assert build_phases(0, [ROUND], 4, online=True) == [Phase(1, 0, 4, 0.5, 0.2, labeled=False)]


def test_phases_without_warm_up_or_rounds():
    assert build_phases(0, [ROUND], 4) == [Phase(1, 0, 4, 0.5, 0.2)]
    assert build_phases(7, [], 7) == [Phase(0, 0, 7, 0.0, None, labeled=False)]


@pytest.mark.parametrize(
    ("warmup", "rounds", "max_iters", "message"),
    [
        (10, [ROUND], 15, r"make 14, train_cfg\.max_iters is 15.*max_iters=14"),
        (-1, [ROUND], 3, "warmup_iterations=-1"),
        (0, [dict(iterations=4)], 4, r"rounds\[0\] has keys \['iterations'\], expected"),
        (0, [ROUND, dict(ROUND, extra=1)], 8, r"rounds\[1\] has keys"),
        (0, [dict(ROUND, iterations=0)], 0, "iterations must be >= 1"),
        (0, [dict(ROUND, portion=0)], 4, "portion"),
        (0, [dict(ROUND, portion=1.1)], 4, "portion"),
        (0, [dict(ROUND, target_share=0)], 4, "target_share"),
        (0, [dict(ROUND, target_share=1.5)], 4, "target_share"),
        (0, [dict(ROUND, lr_factor=0)], 4, "lr_factor"),
        (0, [dict(iterations=4, target_share=0.5, portion=0)], 4, "portion"),
        (0, [dict(ROUND, labeled=False)], 4, "labels no portion"),
    ],
)
def test_impossible_phases(warmup, rounds, max_iters, message):
    with pytest.raises(ValueError, match=message):
        build_phases(warmup, rounds, max_iters)


def test_self_training_hook_needs_two_domains():
    hook = SelfTrainingHook(rounds=[ROUND], warmup_iterations=0)
    runner = SimpleNamespace(
        train_loop=SimpleNamespace(max_iters=4),
        train_dataloader=SimpleNamespace(dataset=[], sampler=()),
    )
    with pytest.raises(TypeError, match=r"TwoDomainDataset .* found list and tuple"):
        hook.before_train(runner)


def draws_of_step(seed, iteration):
    runner = SimpleNamespace(seed=seed, iter=iteration)
    StepSeedHook().before_train_iter(runner, 0)
    return random.random(), np.random.rand(), torch.rand(1).item()


def test_step_seed_is_a_function_of_seed_and_iteration():
    first = draws_of_step(1, 5)
    torch.rand(100)
    random.random()
    assert draws_of_step(1, 5) == first
    for other in (draws_of_step(1, 6), draws_of_step(2, 5)):
        assert all(a != b for a, b in zip(first, other, strict=True))


def test_step_seed_differs_between_ranks(monkeypatch):
    first = draws_of_step(1, 5)
    monkeypatch.setattr("mmdrsl.engine.hooks.step_seed_hook.get_rank", lambda: 1)
    assert draws_of_step(1, 5) != first


class Numbers(Dataset):
    def __len__(self):
        return 100

    def __getitem__(self, index):
        return dict(inputs=torch.tensor([float(index)]))


class Line(BaseModel):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def forward(self, inputs, mode="loss"):
        return dict(loss=self.layer(inputs).square().mean())


class InterruptedSaveError(Exception):
    """Stands for a full disk or a kill in the middle of a write."""


def train(work_dir, *, iterations, keep=1, fail_at=None, resume=False, monkeypatch=None):
    """Train a line; return which whole checkpoints existed whenever one was about to be written."""
    MMLogger._instance_dict.clear()
    runner = Runner(
        model=Line(),
        work_dir=str(work_dir),
        experiment_name=f"{Path(work_dir).name}_{iterations}_{resume}",
        train_dataloader=dict(
            batch_size=2,
            dataset=Numbers(),
            sampler=dict(type="InfiniteSampler"),
            collate_fn=dict(type="default_collate"),
        ),
        train_cfg=dict(type="IterBasedTrainLoop", max_iters=iterations),
        optim_wrapper=dict(optimizer=dict(type="SGD", lr=1e-6)),
        default_hooks=dict(
            logger=None,
            checkpoint=dict(
                type="AtomicCheckpointHook", by_epoch=False, interval=2, max_keep_ckpts=keep
            ),
        ),
        default_scope="mmseg",
        log_level="ERROR",
        resume=resume,
    )
    existing = []
    save = runner.save_checkpoint

    def watched(out_dir, filename, **options):
        existing.append(checkpoints(work_dir))
        if runner.iter + 1 == fail_at:
            (Path(out_dir) / filename).write_bytes(b"half a file")
            raise InterruptedSaveError
        save(out_dir, filename, **options)

    monkeypatch.setattr(runner, "save_checkpoint", watched)
    if fail_at is None:
        runner.train()
    else:
        with pytest.raises(InterruptedSaveError):
            runner.train()
    return existing


def checkpoints(work_dir):
    return sorted(path.name for path in Path(work_dir).glob("iter_*.pth"))


def pointed_at(work_dir):
    path = Path((Path(work_dir) / "last_checkpoint").read_text())
    return path, torch.load(path, weights_only=False)["meta"]["iter"]


def test_one_kept_checkpoint_never_leaves_none(tmp_path, monkeypatch):
    existing = train(tmp_path, iterations=6, monkeypatch=monkeypatch)
    assert existing == [[], ["iter_2.pth"], ["iter_4.pth"]]
    assert checkpoints(tmp_path) == ["iter_6.pth"]
    assert pointed_at(tmp_path) == (tmp_path / "iter_6.pth", 6)
    assert not list(tmp_path.glob(".*.tmp"))


def test_interrupted_save_keeps_the_last_checkpoint(tmp_path, monkeypatch):
    train(tmp_path, iterations=6, fail_at=6, monkeypatch=monkeypatch)
    assert checkpoints(tmp_path) == ["iter_4.pth"]
    assert pointed_at(tmp_path) == (tmp_path / "iter_4.pth", 4)
    existing = train(tmp_path, iterations=8, resume=True, monkeypatch=monkeypatch)
    assert existing == [["iter_4.pth"], ["iter_6.pth"]]
    assert checkpoints(tmp_path) == ["iter_8.pth"]
    assert not list(tmp_path.glob(".*.tmp"))


@pytest.mark.parametrize(
    ("keep", "left"), [(2, ["iter_4.pth", "iter_6.pth"]), (-1, ["iter_2.pth", "iter_4.pth", "iter_6.pth"])]
)  # fmt: skip
def test_number_of_kept_checkpoints(tmp_path, monkeypatch, keep, left):
    train(tmp_path, iterations=6, keep=keep, monkeypatch=monkeypatch)
    assert checkpoints(tmp_path) == left


def clusters(centers, sizes, noise=0.02, seed=0):
    """Unit vectors around unit centers; `sizes` counts the members of each."""
    generator = torch.Generator().manual_seed(seed)
    members = torch.cat(
        [center.repeat(size, 1) for center, size in zip(centers, sizes, strict=True)]
    )
    noisy = members + noise * torch.randn(members.shape, generator=generator)
    return F.normalize(noisy, dim=1)


AXES = torch.eye(6)


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


def test_a_teacher_gets_seeds_and_revived_modes_but_averages_refreshed_ones(monkeypatch):
    def head():
        return MMDLHead(
            in_channels=2, num_classes=1, num_modes=2, embedding_dim=6, hidden_channels=2
        )

    own, copy = head(), head()
    hook = ModeMaintenanceHook(kmeans_iteration=1, interval=3, refresh_interval=2)
    frequency = torch.tensor([0.3])
    sample = SourceSample(clusters(AXES[:2], (40, 40)), torch.zeros(80).long(), frequency)
    monkeypatch.setattr(hook, "_sample", lambda *_: sample)
    steps = torch.tensor(0)
    found = []
    for iteration in range(4):
        runner = hook_runner(dict(mmdl=own), iteration)
        runner.model.teacher = SimpleNamespace(
            steps=steps, module=nn.ModuleDict(dict(heads=nn.ModuleDict(dict(mmdl=copy))))
        )
        runner.optim_wrapper = SimpleNamespace(optimizer=torch.optim.SGD([own.representatives]))
        runner.logger = SimpleNamespace(info=lambda _: None)
        copy.class_frequency.fill_(1)
        copy.representatives.data.zero_()
        # Dead, where it is the turn of the search.
        own.representatives.data[0, 1] = -AXES[0]
        hook.after_train_iter(runner, 0)
        found.append((float(copy.class_frequency), bool(copy.representatives.any())))
        steps.fill_(1)
    # Seeded before the teacher began; nothing is due; refreshed; revived.
    assert [modes for _, modes in found] == [False, False, False, True]
    assert [share for share, _ in found] == pytest.approx([1, 1, 0.3, 0.3])


def test_refreshed_modes_keep_what_they_stand_for():
    modes = F.normalize(AXES[[1, 0]] + 0.4 * AXES[[3, 4]], dim=1)[None]
    embeddings = clusters(AXES[:2], (40, 30))
    labels = torch.zeros(70, dtype=torch.long)
    renewed, replaced = kmeans_representatives(embeddings, labels, modes, seed=0, warm_start=True)
    assert replaced.all()
    # Mode 0 was nearest to the second cluster, mode 1 to the first; they stay in this order.
    assert ((renewed[0] * AXES[[1, 0]]).sum(1) > 0.999).all()


def test_refreshment_comes_at_its_interval(monkeypatch):
    head = MMDLHead(
        in_channels=2, num_classes=1, num_modes=2, embedding_dim=6, hidden_channels=2, memory_size=2
    )
    hook = ModeMaintenanceHook(kmeans_iteration=2, interval=3, refresh_interval=2)
    monkeypatch.setattr(
        hook,
        "_sample",
        lambda *_: SourceSample(
            clusters(AXES[:2], (40, 40)), torch.zeros(80).long(), torch.ones(1)
        ),
    )
    said = []
    for iteration in range(8):
        runner = hook_runner(dict(mmdl=head), iteration)
        runner.optim_wrapper = SimpleNamespace(optimizer=torch.optim.SGD([head.representatives]))
        runner.logger = SimpleNamespace(info=said.append)
        hook.after_train_iter(runner, 0)
        if iteration == 1:
            head.remember(AXES[:1], torch.tensor([0]))
    assert [text.split()[0] for text in said] == [
        "Seeded",
        "Refreshed",
        "Revived",
        "Refreshed",
        "Refreshed",
    ]
    assert len(head.remembered()[0]) == 1
