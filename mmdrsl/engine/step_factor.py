"""A factor on the learning rate that exists only while the optimizer steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch.optim import Optimizer


def scale_steps(optimizers: Iterable[Optimizer], factor: Callable[[], float]) -> None:
    """Multiply the learning rate of every step by a factor.

    MMEngine's schedules compute a rate from the one before, and checkpoints store it. Both see the unscaled rate, so a
    factor that changes during a run neither bends the schedule nor needs any state.

    Args:
        optimizers: The optimizers.
        factor: Returns the factor that applies now, > 0; 1 changes nothing.
    """

    def before(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        now = factor()
        if now != 1:
            for group in optimizer.param_groups:
                group["unscaled_lr"] = group["lr"]
                group["lr"] = group["lr"] * now

    def after(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        for group in optimizer.param_groups:
            group["lr"] = group.pop("unscaled_lr", group["lr"])

    for optimizer in optimizers:
        optimizer.register_step_pre_hook(before)
        optimizer.register_step_post_hook(after)
