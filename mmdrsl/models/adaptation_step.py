"""What a method sees of one training step: the domains of the batch, and everything that was computed once for all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from mmseg.models.utils import resize
from torch import Tensor, nn

from mmdrsl.models.batch_norm import running_statistics_of_target
from mmdrsl.models.feature_maps import FeatureMaps, auxiliary_heads
from mmdrsl.models.label_maps import stack_labels


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
    """One domain's part of a step.

    Attributes:
        features: Feature maps of backbone, neck and decode head, each (B, ...).
        logits: Output of the decode head, shape (B, C, h, w).
        samples: Data samples with ``gt_sem_seg`` (labels, or pseudo labels on the target; 255 is ignored).
        inputs: Normalized images, shape (B, 3, H, W).
    """

    features: FeatureMaps
    logits: Tensor
    samples: list
    inputs: Tensor

    @property
    def labels(self) -> Tensor:
        """Label maps, shape (B, H, W), int64."""
        return stack_labels(self.samples)


def full_size_logits(segmentor: Any, inputs: Tensor) -> Tensor:
    """Run a segmentor and bring its logits to the size of the images.

    Args:
        segmentor: The segmentor, in the mode in which it shall run.
        inputs: Normalized images, shape (B, 3, H, W).

    Returns:
        Shape (B, C, H, W), float32.
    """
    logits = segmentor.decode_head(segmentor.extract_feat(inputs))
    return _resized(logits, inputs.shape[2:], segmentor)


def _resized(logits: Tensor, size: Any, segmentor: Any) -> Tensor:
    return resize(
        logits, size=tuple(size), mode="bilinear", align_corners=segmentor.align_corners
    ).float()


@dataclass
class AdaptationStep:
    """Everything that was computed once and that terms share.

    Attributes:
        segmentor: The wrapped segmentor, for its losses and heads.
        heads: Further heads on the features, by name.
        features: Feature maps of the joint batch, source images first; None where each domain runs on its own.
        domains: The domains that are in the batch, ``source`` and/or ``target``.
        progress: Where the run stands.
        detach_heads: Whether further heads only observe: no gradient of theirs reaches the features.
        teacher: Modules ``segmentor`` and ``heads`` of the averaged copy that `MeanTeacherHook` keeps; None without
            one, before its first update, and where no term declares ``needs_teacher``.
        discriminators: Domain discriminators, by name.
    """

    segmentor: Any
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
        """Output of a further head for one domain; computed once per step, normalized as the segmentor is.

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

    def full_size_logits(self, domain: str, head: str | None = None) -> Tensor:
        """Logits of a classifier at the size of the images.

        Args:
            domain: ``source`` or ``target``; it must be in the batch.
            head: Name of a head in ``model.heads`` whose output are logits; None takes the segmentor's decode head.

        Returns:
            Shape (B, C, H, W), float32, connected.

        Raises:
            ValueError: There is no head of that name, or its output has another number of channels than the
                segmentor's.
        """
        batch = self.domains[domain]
        logits = batch.logits if head is None else self.head_output(head, domain)
        if logits.shape[1] != batch.logits.shape[1]:
            raise ValueError(
                f"model.heads.{head} gives {logits.shape[1]} channels, the segmentor {batch.logits.shape[1]}; a term "
                "that reads its logits needs a classifier, such as an FCNHead with the segmentor's num_classes."
            )
        return _resized(logits, batch.labels.shape[1:], self.segmentor)

    def teacher_probabilities(self) -> Tensor:
        """Class probabilities of the teacher for the target images; computed once per step, without gradients.

        Returns:
            Shape (B, C, H, W), float32.

        Raises:
            ValueError: There is no teacher yet, or the term did not say that it needs one.
        """
        if self.teacher is None:
            raise ValueError(
                "A term reads the teacher's prediction, and there is none: add default_hooks=dict(teacher=dict("
                "type='MeanTeacherHook')) with begin at most the length of the warm-up. A term of your own must also "
                "declare needs_teacher = True."
            )
        if "teacher" not in self._outputs:
            with torch.no_grad():
                logits = full_size_logits(self.teacher["segmentor"], self.domains["target"].inputs)
                self._outputs["teacher"] = {"target": logits.softmax(dim=1)}
        return self._outputs["teacher"]["target"]

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
