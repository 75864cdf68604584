"""One optimizer for a segmentor that learns by SGD and a discriminator that learns by Adam."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from mmseg.registry import OPTIMIZERS
from torch import Tensor
from torch.optim import Optimizer


@OPTIMIZERS.register_module()
class SGDWithAdam(Optimizer):
    """SGD with momentum; Adam for the parameter groups that carry ``betas``.

    Equal to ``torch.optim.SGD`` and ``torch.optim.Adam`` on their groups. A single optimizer keeps MMEngine's Runner,
    its wrappers for mixed precision, accumulation and distributed training, schedules and checkpoints as they are.
    Neither ``BaseModel.train_step`` nor ``MMDistributedDataParallel`` takes an ``OptimWrapperDict``.
    In a config: ``paramwise_cfg=dict(custom_keys=dict(discriminators=dict(betas=(0.9, 0.99))))``.

    Args:
        params: Parameters or groups of them.
        lr: Learning rate, >= 0.
        momentum: Momentum of SGD, in [0, 1).
        weight_decay: L2 penalty of either, >= 0.
        betas: Adam's averages; None, the default for groups, means SGD.
        eps: Adam's guard of the division.

    Raises:
        ValueError: A value is outside its range.
    """

    def __init__(
        self,
        params: Iterable[Any],
        *,
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        betas: tuple[float, float] | None = None,
        eps: float = 1e-8,
    ) -> None:
        if lr < 0 or not 0 <= momentum < 1 or weight_decay < 0:
            raise ValueError(
                "lr and weight_decay must be >= 0 and momentum in [0, 1), found "
                f"{lr}, {weight_decay} and {momentum}."
            )
        defaults = dict(lr=lr, momentum=momentum, weight_decay=weight_decay, betas=betas, eps=eps)
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient.

        Args:
            closure: Recomputes the loss, as in PyTorch.

        Returns:
            What the closure returns; None without one.
        """
        value = None
        if closure is not None:
            with torch.enable_grad():
                value = closure()
        for group in self.param_groups:
            update = self._sgd if group["betas"] is None else self._adam
            for parameter in group["params"]:
                if parameter.grad is not None:
                    gradient = parameter.grad + group["weight_decay"] * parameter
                    update(parameter, gradient, self.state[parameter], group)
        return value

    @staticmethod
    def _sgd(parameter: Tensor, gradient: Tensor, state: dict, group: dict) -> None:
        if "momentum_buffer" in state:
            state["momentum_buffer"].mul_(group["momentum"]).add_(gradient)
        else:
            state["momentum_buffer"] = gradient.clone()
        parameter.add_(state["momentum_buffer"], alpha=-group["lr"])

    @staticmethod
    def _adam(parameter: Tensor, gradient: Tensor, state: dict, group: dict) -> None:
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        first, second = group["betas"]
        state["step"] += 1
        state["exp_avg"].lerp_(gradient, 1 - first)
        state["exp_avg_sq"].mul_(second).addcmul_(gradient, gradient, value=1 - second)
        step = state["step"].item()
        spread = (state["exp_avg_sq"] / (1 - second**step)).sqrt_().add_(group["eps"])
        parameter.addcdiv_(state["exp_avg"], spread, value=-group["lr"] / (1 - first**step))
