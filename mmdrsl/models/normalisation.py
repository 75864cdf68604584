"""Batch normalisation on two domains: whose statistics are kept, and how they are taken from images."""

from __future__ import annotations

import copy
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
from mmengine.dist import all_reduce, broadcast
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def normalisation_layers(model: nn.Module) -> list[_BatchNorm]:
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
        model: Normalises with the statistics of the batch either way.
        domain: Domain of the pass inside the block.
        present: The domains of the batch.
    """
    layers = normalisation_layers(model) if domain == "source" and "target" in present else []
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = 0.0
    try:
        yield
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum


@contextmanager
def frozen_statistics(model: nn.Module) -> Iterator[None]:
    """Normalise by the running statistics inside the block, as prediction does, and leave them as they are.

    Scale and shift of the layers are still trained.

    Args:
        model: Its layers in training mode are there again after the block.
    """
    layers = normalisation_layers(model)
    for layer in layers:
        layer.eval()
    try:
        yield
    finally:
        for layer in layers:
            layer.train()


@contextmanager
def _without_other_ranks(layers: Sequence[_BatchNorm]) -> Iterator[None]:
    """Let synchronised layers take the statistics of this rank alone: other ranks may have fewer batches, or none."""
    synchronised = [layer for layer in layers if isinstance(layer, nn.SyncBatchNorm)]
    for layer in synchronised:
        # An attribute of the instance goes before the class's method.
        layer.__dict__["forward"] = MethodType(_BatchNorm.forward, layer)
    try:
        yield
    finally:
        for layer in synchronised:
            del layer.__dict__["forward"]


@contextmanager
def evaluation_pass(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside the block, for looking at training batches without changing anything.

    Where an adaptor normalises the domains apart, its running statistics are the target's alone: there each batch of
    one domain is still normalised by its own statistics.

    Args:
        model: Its mode is restored.
    """
    modes = {module: module.training for module in model.modules()}
    apart = getattr(model, "normalisation", "joint") == "per_domain"
    layers = normalisation_layers(model) if apart else []
    momenta = [layer.momentum for layer in layers]
    model.eval()
    for layer in layers:
        layer.train()
        layer.momentum = 0.0
    try:
        with _without_other_ranks(layers):
            yield
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        for module, mode in modes.items():
            module.training = mode


@torch.no_grad()
def calibrate_running_statistics(
    model: nn.Module,
    forward: Callable[[Tensor], Any],
    batches: Iterable[Tensor],
    *,
    share: float = 1.0,
) -> None:
    """Take the running statistics from batches of images, wholly (AdaBN, Li et al. 2016) or in part.

    With a share below 1 the new statistics are those of a mixture of both populations (after Schneider et al. 2020; the
    variance between the two means is this project's own). Every other layer is in evaluation mode meanwhile. Layers
    that are frozen (in evaluation mode while the model trains) or that `forward` does not reach keep their statistics.
    On several ranks the images' statistics are the mean over them.

    Args:
        model: The model in training mode; its mode and the layers' momenta are restored.
        forward: Runs the model on normalised images of shape (B, 3, H, W).
        batches: Normalised images, each (B, 3, H, W); at least one on every rank.
        share: Share of the images in the new statistics, in (0, 1].
    """
    modes = {module: module.training for module in model.modules()}
    layers = normalisation_layers(model)
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
        if share < 1:
            _mix_statistics(layer, state["running_mean"], state["running_var"], share)


def _mix_statistics(layer: Any, mean: Tensor, variance: Tensor, share: float) -> None:
    """Make a layer's statistics those of a mixture in which they have `share`, the given ones the rest."""
    between = share * (1 - share) * (layer.running_mean - mean).square()
    layer.running_mean.lerp_(mean, 1 - share)
    layer.running_var.lerp_(variance, 1 - share).add_(between)


def share_buffers(model: nn.Module) -> None:
    """Give every rank the buffers of the first one, whose checkpoints are kept.

    Gradients are averaged over the ranks, running statistics are not: each rank takes those of its own batches, as
    MMEngine's wrapper leaves them.

    Args:
        model: The model, the same on every rank; with one process nothing happens.
    """
    for buffer in model.buffers():
        broadcast(buffer)
