"""The model of a run without its distributed wrapper, and how images are loaded for its predictions."""

from __future__ import annotations

from typing import Any

from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from mmdrsl.datasets.unlabeled import WHOLE_IMAGE_PIPELINE


def unwrapped(runner: Runner) -> Any:
    """The model without a distributed wrapper."""
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def labeling_pipeline(runner: Runner) -> Any:
    """How target images are loaded where they are labeled; whole at their own size where nothing labels them."""
    pipelines = (getattr(hook, "pipeline", None) for hook in runner.hooks)
    return next((found for found in pipelines if found), WHOLE_IMAGE_PIPELINE)
