"""Names that configs of version 0.1 have: an error says what takes their place."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from mmengine.registry import Registry
from mmseg.registry import HOOKS, MODELS, TASK_UTILS

Class = TypeVar("Class", bound=type)

RENAMED_TYPES: tuple[tuple[Registry, str, str], ...] = (
    (HOOKS, "TeacherHook", "use MeanTeacherHook"),
    (HOOKS, "TargetNormalisationHook", "use AdaBNHook, whose target_share is target_weight"),
    (HOOKS, "PredictionStatisticsHook", "use TestTimeBNHook, whose target_share is target_weight"),
    (HOOKS, "DomainAccuracyHook", "use default_hooks.after_step=dict(type='AfterStepHook')"),
    (HOOKS, "ModeMemoryHook", "it was removed, leave it out"),
    (MODELS, "VarianceRectificationTerm", "use RectifiedCrossEntropyTerm"),
    (MODELS, "ModelRegularisationTerm", "use ModelRegularizationTerm"),
    (MODELS, "ReverseCrossEntropyLoss", "it was removed, leave it out"),
    (TASK_UTILS, "TwoHeadPolicy", "it was removed, use ClassBalancedPolicy with second_head"),
    (TASK_UTILS, "EntropyPolicy", "it was removed, use ClassBalancedPolicy"),
    (TASK_UTILS, "FixedConfidencePolicy", "it was removed, use ClassBalancedPolicy"),
    (TASK_UTILS, "CropConsistencyPolicy", "it was removed, use ClassBalancedPolicy"),
)
"""Registry, old name, remedy."""


def renamed_arguments(**names: str) -> Callable[[Class], Class]:
    """Let a class refuse arguments by their old names, and say the new ones.

    Args:
        names: New name by old name.

    Returns:
        A decorator of classes.
    """

    def decorate(decorated: Class) -> Class:
        original = decorated.__init__

        @functools.wraps(original)
        def checked(self: Any, *args: Any, **kwargs: Any) -> None:
            for old in names.keys() & kwargs.keys():
                raise ValueError(
                    f"{decorated.__name__} has no argument {old!r}: it is called {names[old]!r}. CHANGELOG.md has a "
                    "table of all old and new names."
                )
            original(self, *args, **kwargs)

        decorated.__init__ = checked
        return decorated

    return decorate


def register_old_types() -> None:
    """Let the registries answer old names with what to use."""
    for registry, old, remedy in RENAMED_TYPES:
        registry.register_module(name=old, module=_refusal(old, remedy), force=True)


def _refusal(old: str, remedy: str) -> Callable[..., Any]:
    def refuse(**_: Any) -> None:
        raise ValueError(
            f"{old} is a name of version 0.1: {remedy}. CHANGELOG.md has a table of all old and new names."
        )

    return refuse
