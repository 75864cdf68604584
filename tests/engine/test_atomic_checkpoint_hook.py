"""Checkpoints while a run is interrupted."""

import concurrent.futures
import fcntl
from pathlib import Path

import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset

from mmdrsl.checkpoints import read_checkpoint


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
    return path, read_checkpoint(path)["meta"]["iter"]


def test_one_kept_checkpoint_never_leaves_none(tmp_path, monkeypatch):
    existing = train(tmp_path, iterations=6, monkeypatch=monkeypatch)
    assert existing == [[], ["iter_2.pth"], ["iter_4.pth"]]
    assert checkpoints(tmp_path) == ["iter_6.pth"]
    assert pointed_at(tmp_path) == (tmp_path / "iter_6.pth", 6)
    assert not list(tmp_path.glob(".*.tmp"))


def test_interrupted_save_keeps_the_last_checkpoint(tmp_path, monkeypatch):
    train(tmp_path, iterations=6, fail_at=6, monkeypatch=monkeypatch)
    assert checkpoints(tmp_path) == ["iter_4.pth"]
    # A kill leaves its half behind, an error does not.
    (tmp_path / ".iter_6.pth.12-34.tmp").write_bytes(b"half a file")
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


def test_what_a_kill_left_goes_at_resume_and_nothing_else(tmp_path, monkeypatch):
    train(tmp_path, iterations=6, monkeypatch=monkeypatch)
    # As if the kill had come before the checkpoint of step 4 was removed; step 3 is the user's own.
    for name in ("iter_4.pth", "iter_3.pth", ".iter_9.pth.12-34.tmp"):
        (tmp_path / name).write_bytes(b"half a file")
    train(tmp_path, iterations=6, resume=True, monkeypatch=monkeypatch)
    assert checkpoints(tmp_path) == ["iter_3.pth", "iter_6.pth"]
    assert not list(tmp_path.glob(".*"))


def test_a_second_training_in_a_folder_is_refused(tmp_path, monkeypatch):
    # Stock launchers know nothing of the lock; the hook does.
    with (tmp_path / ".lock").open("a") as file, concurrent.futures.ProcessPoolExecutor(1) as pool:
        pool.submit(fcntl.lockf, file.fileno(), fcntl.LOCK_EX).result()
        with pytest.raises(BlockingIOError, match="Another process is writing"):
            train(tmp_path, iterations=2, monkeypatch=monkeypatch)
    assert checkpoints(tmp_path) == []
