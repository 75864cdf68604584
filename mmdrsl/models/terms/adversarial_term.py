"""Adversarial alignment of segmentation outputs (AdaptSegNet) or of their entropy (ADVENT)."""

from __future__ import annotations

from mmseg.registry import MODELS
from torch import Tensor

from ..discriminators import score_frozen
from ..losses.adversarial import domain_loss, right_share
from ..losses.entropy import self_information
from .adaptation_term import AdaptationStep, AdaptationTerm
from .outputs import full_size_logits

MAPS = ("probabilities", "self_information")


@MODELS.register_module()
class AdversarialTerm(AdaptationTerm):
    r"""Segmentations of target images shall look like those of source images to a discriminator that learns to tell.

    With m the map of an image (class probabilities: AdaptSegNet, Tsai et al. 2018; weighted self-information
    ``-p log p / log C``: AdvEnt, Vu et al. 2019) and d the `domain_loss`::

        segmentor:      weight * d(D(m_target), source)                      D frozen
        discriminator:  (d(D(m_source), source) + d(D(m_target), target)) / 2  maps detached

    The two have no parameter in common, so one backward pass of their sum is the two passes of the released codes,
    which take all gradients before they step, and halve the discriminator's loss, too. They name the source 0 and the
    target 1; here it is the other way round, which mirrors the scores and changes nothing else. A term per level makes
    the multi-level variants; the release's factors of the second level are a fifth of the first (2e-4 and 1e-3), for
    which its README offers 5e-5 and 5e-4 on newer PyTorch.

    Args:
        discriminator: Name of the discriminator in ``model.discriminators``; its ``in_channels`` is the number of
            classes.
        head: Classifier in ``model.heads``; None takes the segmentor's decode head.
        maps: ``probabilities`` or ``self_information``.
        kind: ``cross_entropy`` or ``least_squares``, see `domain_loss`.
        weight: Factor of the segmentor's loss, >= 0.

    Raises:
        ValueError: Unknown maps or kind.
    """

    def __init__(
        self,
        *,
        discriminator: str = "output",
        head: str | None = None,
        maps: str = "probabilities",
        kind: str = "cross_entropy",
        weight: float = 1e-3,
    ) -> None:
        super().__init__()
        if maps not in MAPS or kind not in ("cross_entropy", "least_squares"):
            raise ValueError(
                f"maps must be one of {list(MAPS)} and kind 'cross_entropy' or 'least_squares', found {maps!r} and "
                f"{kind!r}."
            )
        self.discriminator = discriminator
        self.head = head
        self.maps = maps
        self.kind = kind
        self.weight = weight

    def forward(self, step: AdaptationStep) -> dict[str, Tensor]:
        """Both losses and the discriminator's accuracy; empty where the batch lacks one of the domains."""
        if not {"source", "target"} <= step.domains.keys():
            return {}
        discriminator = step.discriminator(self.discriminator)
        source, target = (self._map(step, domain) for domain in ("source", "target"))
        fooled = domain_loss(score_frozen(discriminator, target), of_source=True, kind=self.kind)
        source_scores, target_scores = (discriminator(each.detach()) for each in (source, target))
        told = domain_loss(source_scores, of_source=True, kind=self.kind) + domain_loss(
            target_scores, of_source=False, kind=self.kind
        )
        return {
            "loss_adversarial": self.weight * fooled,
            "loss_discriminator": told / 2,
            "discriminator_accuracy": right_share(source_scores, target_scores, self.kind),
        }

    def _map(self, step: AdaptationStep, domain: str) -> Tensor:
        logits = full_size_logits(step, domain, self.head)
        return self_information(logits) if self.maps == "self_information" else logits.softmax(1)
