"""What a term of the adaptation objective sees of one training step, and what it returns."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from dataclasses import dataclass, field
from typing import Any

from mmengine.model import BaseModule
from torch import Tensor, nn

from ..feature_maps import FeatureMaps, auxiliary_heads
from ..label_maps import stack_labels
from ..normalisation import running_statistics_of_target


@dataclass
class AdaptationProgress:
    """Where a run stands; hooks change it between steps.

    Attributes:
        round: 0 in the warm-up, then 1, 2, ...
        adaptation_iteration: Steps since the end of the warm-up; negative during it.
    """

    round: int = 0
    adaptation_iteration: int = -1


@dataclass
class DomainBatch:
    """One domain's share of a step.

    Attributes:
        features: Feature maps of backbone, neck and decode head, each (B, ...).
        logits: Output of the decode head, shape (B, C, h, w).
        samples: Data samples with ``gt_sem_seg`` (labels, or pseudo labels on the target; 255 is ignored).
        inputs: Normalised images, shape (B, 3, H, W).
    """

    features: FeatureMaps
    logits: Tensor
    samples: list
    inputs: Tensor | None = None

    @property
    def labels(self) -> Tensor:
        """Label maps, shape (B, H, W), int64."""
        return stack_labels(self.samples)


@dataclass
class AdaptationStep:
    """Everything that was computed once and that terms share.

    Attributes:
        segmentor: The wrapped segmentor, for its losses and heads.
        heads: Further heads on the features, by name.
        features: Feature maps of the joint batch, source images first; None where each domain is normalised and
            run on its own.
        domains: The domains that are in the batch, ``source`` and/or ``target``.
        progress: Where the run stands.
        detach_heads: Whether further heads only observe: no gradient of theirs reaches the features.
        teacher: Modules ``segmentor`` and ``heads`` of the averaged copy that `TeacherHook` keeps; None without one,
            and before its first update.
        discriminators: Domain discriminators, by name.
    """

    segmentor: nn.Module
    heads: nn.ModuleDict
    features: FeatureMaps | None
    domains: dict[str, DomainBatch]
    progress: AdaptationProgress
    detach_heads: bool = False
    teacher: nn.ModuleDict | None = None
    discriminators: nn.ModuleDict = field(default_factory=nn.ModuleDict)
    _outputs: dict[str, dict[str, Tensor]] = field(default_factory=dict)

    def head(self, name: str) -> Any:
        """A further head of the adaptor.

        Args:
            name: Key of the head in the adaptor's ``heads``.

        Returns:
            The head.

        Raises:
            ValueError: There is no head of that name.
        """
        if name not in self.heads:
            raise ValueError(
                f"A term reads the head {name!r}, but the adaptor has {sorted(self.heads)}. Add it to model.heads."
            )
        return self.heads[name]

    def discriminator(self, name: str) -> Any:
        """A domain discriminator of the adaptor.

        Args:
            name: Key of the discriminator in the adaptor's ``discriminators``.

        Returns:
            The discriminator.

        Raises:
            ValueError: There is no discriminator of that name.
        """
        if name not in self.discriminators:
            raise ValueError(
                f"A term reads the discriminator {name!r}, but the adaptor has {sorted(self.discriminators)}. Add it "
                "to model.discriminators."
            )
        return self.discriminators[name]

    def head_output(self, name: str, domain: str) -> Tensor:
        """Output of a further head for one domain; computed once per step, normalised as the segmentor is.

        Args:
            name: Key of the head in the adaptor's ``heads``.
            domain: ``source`` or ``target``; it must be in the batch.

        Returns:
            The domain's slice of the head's output, shape (B, ...).

        Raises:
            ValueError: There is no head of that name.
        """
        if name not in self._outputs:
            self._outputs[name] = self._run_head(self.head(name), detach=self.detach_heads)
        return self._outputs[name][domain]

    def auxiliary_output(self, index: int, domain: str) -> Tensor:
        """Output of one of the segmentor's own auxiliary heads, as `head_output`; it always shapes the features.

        Args:
            index: Number of the head in `auxiliary_heads`.
            domain: ``source`` or ``target``; it must be in the batch.

        Returns:
            The domain's slice of the head's output, shape (B, C, h, w).
        """
        name = f"auxiliary_head.{index}"
        if name not in self._outputs:
            head = auxiliary_heads(self.segmentor)[index]
            self._outputs[name] = self._run_head(head, detach=False)
        return self._outputs[name][domain]

    def _run_head(self, head: nn.Module, *, detach: bool) -> dict[str, Tensor]:
        outputs = {}
        if self.features is None:
            for domain, batch in self.domains.items():
                with running_statistics_of_target(head, domain, self.domains):
                    outputs[domain] = head(batch.features.detach() if detach else batch.features)
            return outputs
        output, begin = head(self.features.detach() if detach else self.features), 0
        for domain, batch in self.domains.items():
            outputs[domain] = output[begin : begin + len(batch.samples)]
            begin += len(batch.samples)
        return outputs


class AdaptationTerm(BaseModule, metaclass=ABCMeta):
    """One named term of the objective.

    A term reads the step, changes no state, and returns named values. Names that begin with ``loss_`` are added up and
    optimised; others are only logged and must not contain "loss". It may draw from PyTorch's generator: every term
    draws as if it were the only one.
    """

    @abstractmethod
    def forward(self, step: AdaptationStep) -> dict[str, Tensor]:
        """Return named losses and diagnostics; an empty dictionary where the term has nothing to do."""


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
