"""Runs of a few steps whose numbers get lost at a known one."""

from pathlib import Path

import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.model import BaseModel
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset

from mmdrsl.checkpoints import read_checkpoint
from mmdrsl.engine.hooks import FiniteValuesHook
from mmdrsl.finite_values import non_finite_names


class Values(Dataset):
    """One value for each step."""

    def __init__(self, *values):
        self.values = values

    def __len__(self):
        return len(self.values)

    def __getitem__(self, index):
        return dict(inputs=torch.tensor([float(self.values[index])]))


class TwoLosses(BaseModel):
    """A loss of the weight alone, and the root of a square, whose gradient at 0 is NaN."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1, bias=False)

    def forward(self, inputs, mode="loss"):
        return {
            "steady.loss_weight": self.layer.weight.square().mean(),
            "other.loss_root": (self.layer(inputs).square()).sqrt().mean(),
            "other.figure": torch.tensor(float("nan")),
        }


@OPTIM_WRAPPERS.register_module(force=True)
class ScaledOnCPU(AmpOptimWrapper):
    """MMEngine's wrapper with PyTorch's gradient scaler for the CPU."""

    def __init__(self, **options):
        OptimWrapper.__init__(self, **options)
        self.loss_scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
        self._scale_update_param = None

    def optim_context(self, model):
        return OptimWrapper.optim_context(self, model)


def build(work_dir, *values, wrapper="OptimWrapper", hook=None, **checkpoint):
    MMLogger._instance_dict.clear()
    torch.manual_seed(0)
    return Runner(
        model=TwoLosses(),
        work_dir=str(work_dir),
        experiment_name=f"{Path(work_dir).name}_{len(values)}_{wrapper}",
        train_dataloader=dict(
            batch_size=1,
            dataset=Values(*values),
            sampler=dict(type="InfiniteSampler", shuffle=False),
            collate_fn=dict(type="default_collate"),
        ),
        train_cfg=dict(type="IterBasedTrainLoop", max_iters=len(values)),
        optim_wrapper=dict(type=wrapper, optimizer=dict(type="SGD", lr=1e-3)),
        default_hooks=dict(
            logger=None,
            finite_values=hook or dict(type="FiniteValuesHook"),
            checkpoint=dict(
                type="AtomicCheckpointHook",
                by_epoch=False,
                max_keep_ckpts=1,
                **{"interval": 1, **checkpoint},
            ),
        ),
        default_scope="mmseg",
        log_level="ERROR",
    )


def listen(runner):
    """What the run says of skipped steps."""
    said = []
    runner.logger.warning = lambda message: said.append(message) if "skipped" in message else None
    return said


def checkpoints(work_dir):
    return sorted(path.name for path in Path(work_dir).iterdir() if ".pth" in path.name)


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_lost_loss_ends_the_run_at_its_step(tmp_path, value):
    runner = build(tmp_path, 1, 1, 1, value, 1)
    with pytest.raises(
        FloatingPointError, match=rf"step 4: other\.loss_root is {value}\."
    ) as error:
        runner.train()
    # The other loss is sound; a diagnostic may be NaN at any step.
    assert "steady" not in str(error.value)
    assert "figure" not in str(error.value)
    assert str(tmp_path / "iter_3.pth") in str(error.value)
    assert checkpoints(tmp_path) == ["iter_3.pth"]
    assert non_finite_names(read_checkpoint(tmp_path / "iter_3.pth")["state_dict"]) == []


def test_lost_weights_are_never_written(tmp_path):
    """At step 3 the loss is 0 and its gradient NaN."""
    runner = build(tmp_path, 1, 1, 0, 1)
    with pytest.raises(FloatingPointError, match=r"at step 3: 1 weights .* layer\.weight") as error:
        runner.train()
    assert not runner.model.layer.weight.isfinite().all()
    assert str(tmp_path / "iter_2.pth") in str(error.value)
    assert checkpoints(tmp_path) == ["iter_2.pth"]
    assert (tmp_path / "last_checkpoint").read_text() == str(tmp_path / "iter_2.pth")


def test_without_a_checkpoint_it_says_so(tmp_path):
    with pytest.raises(FloatingPointError, match="There is no checkpoint of an earlier step"):
        build(tmp_path, "nan", interval=10).train()


def test_a_scaler_skips_steps_and_counts_them(tmp_path):
    runner = build(tmp_path, 1, 0, 1, 0, 0, 1, wrapper="ScaledOnCPU")
    messages = listen(runner)
    runner.train()
    assert runner.model.layer.weight.isfinite().all()
    # The scale is halved where a step is skipped.
    assert [message.partition(" was skipped")[0] for message in messages] == [
        "Step 2", "Step 4", "Step 5"
    ]  # fmt: skip
    assert "(2 in a row, 3 in all; the scale is now 1)" in messages[-1]
    saved = read_checkpoint(tmp_path / "iter_6.pth")["message_hub"]["runtime_info"]
    assert saved["skipped_steps"] == 3


def test_too_many_skipped_steps_in_a_row_end_the_run(tmp_path):
    hook = dict(type="FiniteValuesHook", max_skipped_steps=2)
    runner = build(tmp_path, 1, 0, 1, 0, 0, 1, wrapper="ScaledOnCPU", hook=hook)
    with pytest.raises(FloatingPointError, match="step 5: the gradients of 2 steps in a row"):
        runner.train()
    assert runner.model.layer.weight.isfinite().all()
    assert checkpoints(tmp_path) == ["iter_4.pth"]


def test_accumulated_gradients_count_where_they_are_used(tmp_path):
    runner = build(tmp_path, 1, 0, 1, 1, 1, 1, wrapper="ScaledOnCPU")
    runner.optim_wrapper["accumulative_counts"] = 3
    messages = listen(runner)
    runner.train()
    assert [message.partition(" was skipped")[0] for message in messages] == ["Step 3"]


def test_impossible_number_of_skipped_steps():
    with pytest.raises(ValueError, match="max_skipped_steps must be >= 1, found 0"):
        FiniteValuesHook(max_skipped_steps=0)


def test_names_of_what_is_lost():
    state = dict(
        good=torch.zeros(2),
        counted=torch.tensor(3),
        lost=torch.tensor([0.0, float("inf")]),
        text="nan",
    )
    assert non_finite_names(state) == ["lost"]
    assert non_finite_names({}) == []
