"""Writes into the log how much each term of the loss pulls at the shared weights."""

from __future__ import annotations

import copy
from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch import Tensor

from mmdrsl.engine.adaptation_hook import AdaptationHook
from mmdrsl.engine.model_access import unwrapped
from mmdrsl.models.segmentors.uda_segmentor import UDASegmentor


@HOOKS.register_module()
class GradientNormHook(AdaptationHook):
    """Measures the gradient of every term by itself, on the batch of every n-th step, before the step is made.

    Logged as ``gradient_norm/<term>``: Euclidean norm of the gradient of the term's weighted losses with respect to all
    trained weights of the segmentor's backbone and neck, which all heads share. Beside the cross entropy's norm it says
    how much a term has to say there. Weights, statistics and random draws of the training stay as they are. This
    project's own.

    Args:
        interval: Steps between two measurements, >= 1. Each costs a forward pass, and a backward pass for every term.

    Raises:
        ValueError: `interval` is below 1.
    """

    acts_in_warmup = True
    changes_segmentor = False
    only_observes = True
    # After StepSeedHook and all that changes the model before a step.
    priority = "VERY_LOW"

    def __init__(self, *, interval: int = 50) -> None:
        if interval < 1:
            raise ValueError(f"GradientNormHook.interval must be >= 1, found {interval}.")
        self.interval = interval

    def before_train(self, runner: Runner) -> None:
        """Check that the model has terms.

        Raises:
            TypeError: It is no `UDASegmentor`.
        """
        model = unwrapped(runner)
        if not isinstance(model, UDASegmentor):
            raise TypeError(
                "GradientNormHook compares the terms of a UDASegmentor, found a model of type "
                f"{type(model).__name__}: leave the hook out."
            )

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Log, where this step is one of those."""
        if (runner.iter + 1) % self.interval:
            return
        model = unwrapped(runner)
        with runner.optim_wrapper.optim_context(runner.model):
            norms = gradient_norms(model, data_batch)
        if is_main_process():
            for name, value in norms.items():
                runner.message_hub.update_scalar(f"train/gradient_norm/{name}", value)


def gradient_norms(model: UDASegmentor, batch: dict) -> dict[str, float]:
    """Norm of each term's gradient with respect to the weights that all heads share.

    Args:
        model: The adaptor in training mode; its buffers and the random streams are restored.
        batch: Collated batch as the loader gives it.

    Returns:
        Norm by name of the term; 0 for terms without a gradient there, such as heads that learn beside the warm-up.
    """
    segmentor: Any = model.segmentor
    parts = [segmentor.backbone, *([segmentor.neck] if segmentor.with_neck else [])]
    weights = [each for part in parts for each in part.parameters() if each.requires_grad]
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    devices = [weights[0].device] if weights and weights[0].is_cuda else []
    with torch.random.fork_rng(devices=devices):
        data = model.data_preprocessor(copy.deepcopy(batch), True)
        values = model(**data, mode="loss")
    losses: dict[str, list[Tensor]] = {}
    for key, value in values.items():
        name, _, value_name = key.partition(".")
        if "loss" in value_name:
            losses.setdefault(name, []).append(value)
    norms = {name: _norm(sum(values), weights) for name, values in losses.items()}
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            buffer.copy_(buffers[name])
    return norms


def _norm(loss: Any, weights: list[Tensor]) -> float:
    """Norm of a loss's gradient with respect to weights."""
    if not loss.requires_grad or not weights:
        return 0.0
    gradients = torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True)
    squares = [each.float().square().sum() for each in gradients if each is not None]
    return float(sum(squares) ** 0.5)
