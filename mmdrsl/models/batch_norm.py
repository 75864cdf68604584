"""Batch normalization on two domains: whose statistics are kept, and how they are taken from images."""

from __future__ import annotations

import copy
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import MethodType
from typing import Any

import torch
from mmengine.dist import all_reduce, broadcast
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def has_batch_norm(model: nn.Module) -> bool:
    """Whether a model has layers that keep running statistics of batches, frozen ones included."""
    return any(
        isinstance(layer, _BatchNorm) and layer.track_running_stats for layer in model.modules()
    )


def normalization_layers(model: nn.Module) -> list[_BatchNorm]:
    """Layers of a model that keep running statistics of batches and update them in training mode."""
    return [
        layer
        for layer in model.modules()
        if isinstance(layer, _BatchNorm) and layer.track_running_stats and layer.training
    ]


@contextmanager
def running_statistics_of_target(
    model: nn.Module, domain: str, present: Container[str]
) -> Iterator[None]:
    """Keep a source pass out of the running statistics where the batch has target images, too.

    Args:
        model: Normalizes with the statistics of the batch either way.
        domain: Domain of the pass inside the block.
        present: The domains of the batch.
    """
    layers = normalization_layers(model) if domain == "source" and "target" in present else []
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = 0.0
    try:
        yield
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum


def domain_pass(
    model: nn.Module, bn_mode: str, domain: str, present: Container[str]
) -> AbstractContextManager:
    """What the running statistics take up of a pass of one domain, where the domains run apart.

    Args:
        model: The module that runs.
        bn_mode: ``domain_specific`` leaves a source pass out; otherwise every pass counts.
        domain: Domain of the pass; images of both domains count as source images.
        present: The domains of the batch.
    """
    if bn_mode == "domain_specific":
        return running_statistics_of_target(model, domain, present)
    return nullcontext()


@contextmanager
def batch_statistics(model: nn.Module, *, like: nn.Module | None = None) -> Iterator[None]:
    """Normalize by the statistics of the batch inside the block, and leave the running ones as they are.

    Frozen layers keep theirs, and every other layer keeps its mode, so that a model in evaluation mode has no dropout.

    Args:
        model: Its layers are in their mode again after the block.
        like: A model of the same structure whose layers in training mode are those that do so; by default the model
            itself.
    """
    pairs = zip(model.modules(), (like or model).modules(), strict=True)
    layers = [layer for layer, other in pairs if isinstance(layer, _BatchNorm) and other.training]
    before = [(layer.training, layer.track_running_stats) for layer in layers]
    for layer in layers:
        layer.training, layer.track_running_stats = True, False
    try:
        yield
    finally:
        for layer, (training, tracks) in zip(layers, before, strict=True):
            layer.training, layer.track_running_stats = training, tracks


@contextmanager
def frozen_statistics(model: nn.Module) -> Iterator[None]:
    """Normalize by the running statistics inside the block, as prediction does, and leave them as they are.

    Scale and shift of the layers are still trained.

    Args:
        model: Its layers in training mode are there again after the block.
    """
    layers = normalization_layers(model)
    for layer in layers:
        layer.eval()
    try:
        yield
    finally:
        for layer in layers:
            layer.train()


@contextmanager
def _without_other_ranks(layers: Sequence[_BatchNorm]) -> Iterator[None]:
    """Let synchronized layers take the statistics of this rank alone: other ranks may have fewer batches, or none."""
    synchronized = [layer for layer in layers if isinstance(layer, nn.SyncBatchNorm)]
    for layer in synchronized:
        # An attribute of the instance goes before the class's method.
        layer.__dict__["forward"] = MethodType(_BatchNorm.forward, layer)
    try:
        yield
    finally:
        for layer in synchronized:
            del layer.__dict__["forward"]


@contextmanager
def evaluation_pass(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside the block, for looking at training batches without changing anything.

    Where an adaptor normalizes the domains apart, its running statistics are the target's alone: there each batch of
    one domain is still normalized by its own statistics.

    Args:
        model: Its mode is restored.
    """
    modes = {module: module.training for module in model.modules()}
    apart = getattr(model, "bn_mode", "joint") == "domain_specific"
    layers = normalization_layers(model) if apart else []
    model.eval()
    for layer in layers:
        layer.train()
        layer.track_running_stats = False
    try:
        with _without_other_ranks(layers):
            yield
    finally:
        for layer in layers:
            layer.track_running_stats = True
        for module, mode in modes.items():
            module.training = mode


@torch.no_grad()
def calibrate_running_statistics(
    model: nn.Module,
    forward: Callable[[Tensor], Any],
    batches: Iterable[Tensor],
    *,
    weight: float = 1.0,
) -> None:
    """Take the running statistics from batches of images, wholly (AdaBN, Li et al. 2016) or in part.

    With a weight below 1 the new statistics are those of a mixture of both populations (after Schneider et al. 2020;
    the variance between the two means is this project's own). Every other layer is in evaluation mode meanwhile.
    Layers that are frozen (in evaluation mode while the model trains) or that `forward` does not reach keep their
    statistics. On several ranks the images' statistics are the mean over them.

    Args:
        model: The model in training mode; its mode and the layers' momenta are restored.
        forward: Runs the model on normalized images of shape (B, 3, H, W).
        batches: Normalized images, each (B, 3, H, W); at least one on every rank.
        weight: Weight of the images in the new statistics, in (0, 1].
    """
    modes = {module: module.training for module in model.modules()}
    layers = normalization_layers(model)
    before = [(layer.momentum, copy.deepcopy(layer.state_dict())) for layer in layers]
    model.eval()
    for layer in layers:
        layer.train()
        layer.reset_running_stats()
        # None accumulates the plain mean over the batches.
        layer.momentum = None
    try:
        with _without_other_ranks(layers):
            for images in batches:
                forward(images)
    finally:
        for module, mode in modes.items():
            module.training = mode
        for layer, (momentum, state) in zip(layers, before, strict=True):
            layer.momentum = momentum
            if layer.num_batches_tracked == 0:
                layer.load_state_dict(state)
    for layer, (_, state) in zip(layers, before, strict=True):
        for statistic in (layer.running_mean, layer.running_var):
            all_reduce(statistic, op="mean")
        if weight < 1:
            _mix_statistics(layer, state["running_mean"], state["running_var"], weight)


def _mix_statistics(layer: Any, mean: Tensor, variance: Tensor, weight: float) -> None:
    """Make a layer's statistics those of a mixture in which they have `weight`, the given ones the rest."""
    between = weight * (1 - weight) * (layer.running_mean - mean).square()
    layer.running_mean.lerp_(mean, 1 - weight)
    layer.running_var.lerp_(variance, 1 - weight).add_(between)


def share_buffers(model: nn.Module) -> None:
    """Give every rank the buffers of the first one, whose checkpoints are kept.

    Gradients are averaged over the ranks, running statistics are not: each rank takes those of its own batches, as
    MMEngine's wrapper leaves them.

    Args:
        model: The model, the same on every rank; with one process nothing happens.
    """
    for buffer in model.buffers():
        broadcast(buffer)
