"""What docs/training.md says of options that MMEngine offers, on a CPU."""

import numpy as np
import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.runner.activation_checkpointing import turn_on_activation_checkpointing
from mmengine.visualization import Visualizer
from tiny_adaptor import batch, build, losses_of

OPTIMIZER = dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=0.01))
DOMAINS = ("source", "source", "target", "target")


def gradients(model):
    losses = losses_of(model, *DOMAINS)
    sum(value for name, value in losses.items() if "loss_" in name).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def test_gradient_checkpointing_changes_no_gradient():
    plain, checkpointed = build(), build()
    turn_on_activation_checkpointing(
        checkpointed, ["segmentor.backbone.layer1", "segmentor.backbone.layer2"]
    )
    torch.manual_seed(3)
    expected = gradients(plain)
    torch.manual_seed(3)
    found = gradients(checkpointed)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6)


def test_accumulated_steps_change_weights_once():
    model = build()
    wrapper = build_optim_wrapper(model, dict(OPTIMIZER, accumulative_counts=2))
    wrapper.initialize_count_status(model, 0, 2)
    before = model.segmentor.backbone.conv1.weight.clone()
    model.train_step(batch(*DOMAINS), wrapper)
    assert torch.equal(model.segmentor.backbone.conv1.weight, before)
    model.train_step(batch(*DOMAINS), wrapper)
    assert not torch.equal(model.segmentor.backbone.conv1.weight, before)


def test_tensorboard_gets_pictures_and_scalars(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    visualizer = Visualizer(
        name="board",
        vis_backends=[dict(type="TensorboardVisBackend", save_dir=str(tmp_path))],
        save_dir=str(tmp_path),
    )
    visualizer.add_image("target_images", np.full((8, 16, 3), 7, np.uint8), step=3)
    visualizer.add_scalars({"pseudo_labels/coverage": 25.0}, step=3)
    visualizer.close()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert events.Tags()["images"] == ["target_images"]
    assert [event.value for event in events.Scalars("pseudo_labels/coverage")] == [25.0]
