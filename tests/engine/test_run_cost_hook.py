import json
import time
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn

from mmdrsl.engine.hooks.run_cost_hook import peak_memory_mb

STEP_SECONDS = 0.05


class Slow(BaseModel):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def forward(self, inputs, mode):
        time.sleep(STEP_SECONDS)
        return {"loss": self.layer(inputs[0]).mean()}


class Labeling(Hook):
    """Takes time at the end of the warm-up, as pseudo labels do."""

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == 3:
            time.sleep(0.5)


def train(work_dir, iterations, *, resume=False):
    MMLogger._instance_dict.clear()
    runner = Runner(
        model=Slow(),
        work_dir=str(work_dir),
        experiment_name=f"{Path(work_dir).name}_{iterations}_{resume}",
        train_dataloader=dict(
            batch_size=1,
            num_workers=0,
            dataset=[{"inputs": torch.ones(1)}] * 10,
            sampler=dict(type="InfiniteSampler", shuffle=False),
        ),
        train_cfg=dict(type="IterBasedTrainLoop", max_iters=iterations),
        optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.1)),
        default_hooks=dict(
            logger=None,
            cost=dict(type="RunCostHook", warmup_iterations=3),
            checkpoint=dict(type="AtomicCheckpointHook", by_epoch=False, interval=4),
        ),
        custom_hooks=[Labeling()],
        default_scope="mmseg",
        log_level="ERROR",
        resume=resume,
    )
    begin = time.monotonic()
    runner.train()
    return time.monotonic() - begin, json.loads((Path(work_dir) / "cost.json").read_text())


def test_warm_up_ends_before_the_labeling(tmp_path):
    wall, cost = train(tmp_path, 6)
    assert 3 * STEP_SECONDS <= cost["warmup_seconds"] < cost["seconds"] - 0.5 - 2 * STEP_SECONDS
    assert 0.5 + 6 * STEP_SECONDS <= cost["seconds"] <= wall
    assert 0 < cost["peak_memory_mb"] <= peak_memory_mb()


def test_resumed_run_counts_what_came_before(tmp_path):
    _, first = train(tmp_path, 4)
    wall, cost = train(tmp_path, 6, resume=True)
    assert cost["warmup_seconds"] == first["warmup_seconds"]
    assert first["seconds"] + 2 * STEP_SECONDS - 0.01 <= cost["seconds"]
    # The time between the two runs is nobody's.
    assert cost["seconds"] <= first["seconds"] + wall


def test_a_run_that_ends_inside_the_warm_up_has_none(tmp_path):
    _, cost = train(tmp_path, 2)
    assert cost["warmup_seconds"] is None
    assert cost["seconds"] == pytest.approx(2 * STEP_SECONDS, abs=0.2)
