"""What a method sees of one training step: the domains of the batch, and everything that was computed once for all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from mmseg.models.utils import resize
from torch import Tensor, nn

from mmdrsl.models.batch_norm import domain_pass
from mmdrsl.models.detail_maps import Box, inside, with_detail
from mmdrsl.models.feature_maps import (
    Decoded,
    FeatureMaps,
    auxiliary_heads,
    decode_heads,
    share_of,
)
from mmdrsl.models.label_maps import stack_labels
from mmdrsl.models.teacher_prediction import TeacherPrediction

# Beside the domains, among the outputs of heads.
_MIXED = "mixed"


@dataclass
class AdaptationProgress:
    """Where a run stands; hooks change it between steps.

    Attributes:
        round: 0 in the warm-up, then 1, 2, ...
        adaptation_iteration: Steps since the end of the warm-up; negative during it.
    """

    round: int = 0
    adaptation_iteration: int = -1


class DomainBatch:
    """One domain's part of a step.

    Args:
        samples: Data samples with ``gt_sem_seg`` (labels, or pseudo labels on the target; 255 is ignored).
        inputs: Normalized images, shape (B, 3, H, W).
        outputs: Outputs of the decode heads and feature maps, each (B, ...); or what computes them from the images,
            once, where somebody asks.
    """

    def __init__(
        self,
        samples: list,
        inputs: Tensor,
        outputs: Decoded | Callable[[Tensor], Decoded],
    ) -> None:
        self.samples = samples
        self.inputs = inputs
        self._outputs = outputs

    # The first to ask may want no gradient; others share what it gets.
    @torch.enable_grad()
    def run(self) -> Decoded:
        """Outputs of the decode heads and feature maps."""
        if callable(self._outputs):
            self._outputs = self._outputs(self.inputs)
        return self._outputs

    @property
    def logits(self) -> Tensor:
        """Class scores that predict, shape (B, C, h, w)."""
        return self.run().logits

    @property
    def features(self) -> FeatureMaps:
        """Feature maps of backbone, neck and decode head, each (B, ...)."""
        return self.run().maps

    @property
    def labels(self) -> Tensor:
        """Label maps, shape (B, H, W), int64."""
        return stack_labels(self.samples)


@dataclass(frozen=True, kw_only=True)
class MixedView:
    """Images that a term mixed of both domains, as the student saw them.

    Attributes:
        maps: Feature maps, each (B, ...), connected.
        labels: The source's labels, and the teacher's classes where it is confident; 255 elsewhere. Shape (B, H, W).
        of_source: Pixels that come from the source, shape (B, H, W), bool.
    """

    maps: FeatureMaps
    labels: Tensor
    of_source: Tensor


def pixel_loss(
    segmentor: Any, decoded: Decoded, labels: Tensor, *, weight: Tensor, loss: Callable[..., Tensor]
) -> Tensor:
    """Judge every pixel of what a segmentor returned; a detail (HRDA) is judged, too.

    Args:
        segmentor: The segmentor.
        decoded: What its decode heads returned.
        labels: Shape (B, H, W).
        weight: Weight per pixel, shape (B, H, W).
        loss: A loss of logits and labels that takes ``weight`` and ``ignore_index``.

    Returns:
        A scalar.
    """
    head = decode_heads(segmentor)[-1]

    def values(part: Tensor, box: Box | None) -> dict[str, Tensor]:
        wanted, weights = labels[inside(box)], weight[inside(box)]
        full = _resized(part, wanted.shape[1:], segmentor)
        return {"loss": loss(full, wanted, weight=weights, ignore_index=head.ignore_index)}

    share = getattr(head, "detail_weight", 0.0)
    return torch.stack(
        list(with_detail(share, decoded.logits, decoded.maps.detail, values).values())
    ).sum()


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
            one, before its first update, and for a term that does not declare ``needs_teacher``.
        discriminators: Domain discriminators, by name.
        bn_mode: How the domains are normalized, see `UDASegmentor`.
        teacher_prediction: How the teacher predicts the target images.
        mean: Mean of the images' normalization, in [0, 255], shape (3, 1, 1).
        std: Standard deviation of it, shape (3, 1, 1).
        mixed: Mixed images of the batch; None before a term made them.
        shows_mixed: Whether the term that runs declares ``needs_mixed_images``.
        pictures: Where `show` keeps what terms make of the batch, by title; None where nobody looks at this step.
    """

    segmentor: Any
    heads: nn.ModuleDict
    features: FeatureMaps | None
    domains: dict[str, DomainBatch]
    progress: AdaptationProgress
    detach_heads: bool = False
    teacher: nn.ModuleDict | None = None
    discriminators: nn.ModuleDict = field(default_factory=nn.ModuleDict)
    bn_mode: str = "joint"
    teacher_prediction: TeacherPrediction = field(default_factory=TeacherPrediction)
    mean: Tensor | None = None
    std: Tensor | None = None
    mixed: MixedView | None = None
    shows_mixed: bool = False
    pictures: dict[str, Tensor] | None = None
    _outputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    _teacher_probabilities: Tensor | None = None
    _teacher_best: tuple[Tensor, Tensor] | None = None

    @property
    def ignore_index(self) -> int:
        """Label of pixels that the segmentor's losses leave out."""
        return decode_heads(self.segmentor)[-1].ignore_index

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

    def head_output(self, name: str, domain: str) -> Any:
        """Output of a further head for one domain; computed once per step, normalized as the segmentor is.

        Args:
            name: Key of the head in the adaptor's ``heads``.
            domain: ``source`` or ``target``; it must be in the batch.

        Returns:
            The domain's share of the head's output: a tensor (B, ...), or several.

        Raises:
            ValueError: There is no head of that name.
        """
        return self._output(name, self.head(name), domain, detach=self.detach_heads)

    def mixed_view(self) -> MixedView:
        """Mixed images of the batch, which another term made.

        Raises:
            ValueError: No term did, or the one that reads them did not say that it needs them.
        """
        if self.mixed is None or not self.shows_mixed:
            raise ValueError(
                "A term reads mixed images, and there are none: add a ClassMixTerm to model.terms. A term of your own "
                "must also declare needs_mixed_images = True."
            )
        return self.mixed

    def mixed_head_output(self, name: str) -> Tensor:
        """Output of a further head for the mixed images; computed once per step, connected.

        Args:
            name: Key of the head in the adaptor's ``heads``.

        Returns:
            Shape (B, ...).

        Raises:
            ValueError: There is no head of that name, or there are no mixed images.
        """
        view, head = self.mixed_view(), self.head(name)
        known = self._outputs.setdefault(name, {})
        if _MIXED not in known:
            with (
                torch.enable_grad(),
                domain_pass(head, self.bn_mode, "source", self.domains),
            ):
                known[_MIXED] = head(view.maps.detach() if self.detach_heads else view.maps)
        return known[_MIXED]

    def auxiliary_output(self, index: int, domain: str) -> Any:
        """Output of one of the segmentor's own auxiliary heads, as `head_output`; it always shapes the features.

        Args:
            index: Number of the head in `auxiliary_heads`.
            domain: ``source`` or ``target``; it must be in the batch.

        Returns:
            The domain's share of the head's output: a tensor (B, C, h, w), or several.
        """
        head = auxiliary_heads(self.segmentor)[index]
        return self._output(f"auxiliary_head.{index}", head, domain, detach=False)

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
        if not isinstance(logits, Tensor):
            raise ValueError(
                f"model.heads.{head} returns {len(logits)} tensors; a term that reads its logits needs a classifier "
                "with one output, such as an FCNHead."
            )
        if logits.shape[1] != batch.logits.shape[1]:
            raise ValueError(
                f"model.heads.{head} gives {logits.shape[1]} channels, the segmentor {batch.logits.shape[1]}; a term "
                "that reads its logits needs a classifier, such as an FCNHead with the segmentor's num_classes."
            )
        return _resized(logits, batch.labels.shape[1:], self.segmentor)

    def show(self, title: str, content: Tensor) -> None:
        """Keep what a term made of the batch, for the pictures of a run; nothing where nobody looks.

        Args:
            title: How the picture is called, such as ``mixed image``.
            content: Normalized images (B, 3, H, W), classes (B, H, W) int64, or confidences (B, H, W) in [0, 1].
        """
        if self.pictures is not None:
            self.pictures[title] = content.detach()

    @torch.no_grad()
    def teacher_probabilities(self) -> Tensor:
        """Class probabilities of the teacher for the target images; computed once per step, without gradients.

        Returns:
            Shape (B, C, H, W), float32.

        Raises:
            ValueError: There is no teacher yet, or the term did not say that it needs one.
        """
        networks: Any = self._checked_teacher()["segmentor"]
        if self._teacher_probabilities is None:
            inputs = self.domains["target"].inputs
            self._teacher_probabilities = self.teacher_prediction.probabilities(
                networks, self.segmentor, inputs
            )
        return self._teacher_probabilities

    def _checked_teacher(self) -> nn.ModuleDict:
        if self.teacher is None:
            raise ValueError(
                "A term reads the teacher's prediction, and there is none: add default_hooks=dict(teacher=dict("
                "type='MeanTeacherHook')) with begin at most the length of the warm-up. A term of your own must also "
                "declare needs_teacher = True."
            )
        return self.teacher

    def teacher_best(self) -> tuple[Tensor, Tensor]:
        """The most probable class of every target pixel by the teacher; computed once per step.

        Returns:
            Probabilities (B, H, W) in [0, 1], float32, and classes (B, H, W), int64.

        Raises:
            ValueError: As `teacher_probabilities`.
        """
        if self._teacher_best is None:
            self._teacher_best = self.teacher_probabilities().max(dim=1)
        return self._teacher_best

    def teacher_labels(self, threshold: float) -> tuple[Tensor, Tensor]:
        """What the teacher says of the target images, and how often it is sure.

        Args:
            threshold: Probability above which it counts as sure, in [0, 1).

        Returns:
            Classes (B, H, W), int64, and the share of sure pixels in the batch, a scalar in [0, 1].

        Raises:
            ValueError: As `teacher_probabilities`.
        """
        confidence, classes = self.teacher_best()
        self.show("teacher's label", classes)
        self.show("teacher's confidence", confidence)
        return classes, (confidence > threshold).float().mean()

    # The first to ask may want no gradient; others share what it gets.
    @torch.enable_grad()
    def _output(self, name: str, head: nn.Module, domain: str, *, detach: bool) -> Any:
        """Output of a head for a domain, from the passes that the domains have; each once per step."""
        known = self._outputs.setdefault(name, {})
        if domain in known:
            return known[domain]
        if self.features is not None:
            output, begin = head(self.features.detach() if detach else self.features), 0
            for each, batch in self.domains.items():
                known[each] = share_of(output, slice(begin, begin + len(batch.samples)))
                begin += len(batch.samples)
            return known[domain]
        # Running statistics of a domain are renewed by its pass, whether or not somebody asks for it.
        wanted = [domain] if self.bn_mode == "separate" else list(self.domains)
        for each in wanted:
            features = self.domains[each].features
            with domain_pass(head, self.bn_mode, each, self.domains):
                known[each] = head(features.detach() if detach else features)
        return known[domain]
