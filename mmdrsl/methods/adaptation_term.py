"""What every term of an adaptation objective is: a named part of the loss that says what it reads."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from mmengine.model import BaseModule
from torch import Tensor

from mmdrsl.models.adaptation_step import AdaptationStep

DOMAINS = ("source", "target")


class AdaptationTerm(BaseModule, metaclass=ABCMeta):
    """One named term of the objective.

    A term reads the step, changes no state, and returns named values. Names that begin with ``loss_`` are added up and
    optimized; others are only logged and must not contain "loss". It may draw from PyTorch's generator: every term
    draws as if it were the only one, but for the dropout of a pass or head that it is the first to ask for. The
    adaptor runs a term on the batches that hold all of its domains. State of a term is a buffer, which checkpoints
    hold, and changes in `after_step` alone.

    Args:
        domains: Domains that a batch must hold, of ``source`` and ``target``.
        weight: Factor of the term, >= 0.

    Raises:
        ValueError: `domains` is empty or names something else, or the weight is negative.
    """

    needs_teacher: ClassVar[bool] = False
    """Whether the term reads the teacher's prediction; without it the adaptor gives it none."""

    def __init__(self, *, domains: Sequence[str], weight: float = 1.0) -> None:
        super().__init__()
        if not domains or set(domains) - set(DOMAINS):
            raise ValueError(
                f"{type(self).__name__}: domains must be of 'source' and 'target', found {list(domains)}."
            )
        if not weight >= 0:
            raise ValueError(f"{type(self).__name__}: weight must be >= 0, found {weight}.")
        self.domains = frozenset(domains)
        self.weight = weight

    @property
    def needs_mixed_images(self) -> bool:
        """Whether the term reads the mixed images that another one makes; it then runs after all that do not."""
        return False

    @property
    def trained_head(self) -> str | None:
        """Name of the further head that the term trains, where it trains nothing else beside the features.

        While heads learn beside the warm-up, such a term leaves the segmentor as it is.
        """
        return None

    @property
    def has_state(self) -> bool:
        """Whether checkpoints hold something of the term."""
        return bool(self.state_dict())

    @property
    def changes_after_step(self) -> bool:
        """Whether the term has something to do between steps."""
        return type(self).after_step is not AdaptationTerm.after_step

    def begin_with(self, segmentor: Any, classes: Sequence[str] | None) -> None:
        """Take up what the term needs of the segmentor before the first step.

        The adaptor calls it when it is built, and again when its weights are initialized: a checkpoint comes later.

        Args:
            segmentor: The wrapped segmentor.
            classes: Names of the model's classes; None where it has no label space.
        """
        return

    def weight_at(self, adaptation_iteration: int) -> float:
        """Factor of the term in a step.

        Args:
            adaptation_iteration: Steps since the end of the warm-up; negative during it.
        """
        return self.weight

    @abstractmethod
    def forward(self, step: AdaptationStep) -> dict[str, Tensor]:
        """Return named losses and diagnostics of a batch that holds all of the term's domains."""

    def after_step(self, values: Mapping[str, Tensor]) -> dict[str, float]:
        """Change the term's state between two steps; `AfterStepHook` calls it on every rank.

        Args:
            values: What `forward` returned in the step, by name; empty where the batch lacked a domain.

        Returns:
            Values to log, by name.
        """
        return {}


def ramp(iteration: int, length: int) -> float:
    """Linear ramp from 0 to 1.

    Args:
        iteration: Steps since the start; values below 0 give 0.
        length: Steps until 1; 0 means no ramp.

    Returns:
        A factor in [0, 1].
    """
    if iteration < 0:
        return 0.0
    return 1.0 if length == 0 else min(1.0, iteration / length)
