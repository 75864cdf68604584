"""The model of a run without its distributed wrapper."""

from __future__ import annotations

from typing import Any

from mmengine.model import is_model_wrapper
from mmengine.runner import Runner


def unwrapped(runner: Runner) -> Any:
    """The model without a distributed wrapper."""
    return runner.model.module if is_model_wrapper(runner.model) else runner.model
