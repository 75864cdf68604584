"""The checks that every adaptation has, whether its config names them or not."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.model import BaseTTAModel
from mmengine.runner import Runner

from mmdrsl.engine.hooks.class_names_hook import ClassNamesHook
from mmdrsl.engine.hooks.finite_values_hook import FiniteValuesHook
from mmdrsl.engine.hooks.preflight_hook import PreflightHook
from mmdrsl.engine.model_access import unwrapped
from mmdrsl.models.segmentors.uda_segmentor import UDASegmentor

GUARDS: tuple[type[Hook], ...] = (ClassNamesHook, FiniteValuesHook, PreflightHook)


def missing_guards(runner: Runner) -> list[Hook]:
    """Build the checks that a run of a `UDASegmentor` lacks.

    Args:
        runner: A run whose model is built and whose hooks are registered.

    Returns:
        The hooks; none for runs of other models.
    """
    model = unwrapped(runner)
    model = model.module if isinstance(model, BaseTTAModel) else model
    if not isinstance(model, UDASegmentor):
        return []
    return [kind() for kind in GUARDS if not any(isinstance(hook, kind) for hook in runner.hooks)]
