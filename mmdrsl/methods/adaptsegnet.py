"""AdaptSegNet: target segmentations shall look like source segmentations to a discriminator that learns to tell.

Paper: Tsai et al., "Learning to Adapt Structured Output Space for Semantic Segmentation" (CVPR 2018), equations 1 to
5. Defaults: factor 1e-3 on the output, 2e-4 on a second classifier (two terms make the two-level variant),
discriminator by Adam at 1e-4 with betas (0.9, 0.99).
"""

from __future__ import annotations

from mmseg.registry import MODELS
from torch import Tensor

from mmdrsl.methods.adaptation_term import AdaptationTerm
from mmdrsl.models.adaptation_step import AdaptationStep
from mmdrsl.models.discriminators import score_frozen
from mmdrsl.models.losses.adversarial import DECISION, domain_accuracy, domain_loss


@MODELS.register_module()
class AdversarialTerm(AdaptationTerm):
    r"""Adversarial alignment of segmentation outputs.

    With m the map of an image (class probabilities at its full size) and d the `domain_loss`::

        segmentor:      weight * d(D(m_target), source)                      D frozen
        discriminator:  (d(D(m_source), source) + d(D(m_target), target)) / 2  maps detached

    The two have no parameter in common, so one backward pass of their sum is the two passes of the released codes,
    which take all gradients before they step, and halve the discriminator's loss, too. They name the source 0 and the
    target 1; here it is the other way round, which mirrors the scores and changes nothing else. A term per level makes
    the multi-level variants; the release's factors of the second level are a fifth of the first (2e-4 and 1e-3), for
    which its README offers 5e-5 and 5e-4 on newer PyTorch.

    Args:
        discriminator: Name of the discriminator in ``model.discriminators``.
        head: Classifier in ``model.heads``; None takes the segmentor's decode head.
        kind: ``cross_entropy`` or ``least_squares``, see `domain_loss`.
        weight: Factor of the segmentor's loss, >= 0.

    Raises:
        ValueError: Unknown kind.
    """

    def __init__(
        self,
        *,
        discriminator: str = "output",
        head: str | None = None,
        kind: str = "cross_entropy",
        weight: float = 1e-3,
    ) -> None:
        super().__init__(domains=("source", "target"), weight=weight)
        if kind not in DECISION:
            raise ValueError(f"kind must be one of {sorted(DECISION)}, found {kind!r}.")
        self.discriminator = discriminator
        self.head = head
        self.kind = kind

    def forward(self, step: AdaptationStep) -> dict[str, Tensor]:
        """Both losses and the discriminator's accuracy."""
        discriminator = step.discriminator(self.discriminator)
        source, target = (
            self.maps(step.full_size_logits(domain, self.head)) for domain in ("source", "target")
        )
        fooling = domain_loss(score_frozen(discriminator, target), of_source=True, kind=self.kind)
        source_scores, target_scores = (discriminator(each.detach()) for each in (source, target))
        telling = domain_loss(source_scores, of_source=True, kind=self.kind) + domain_loss(
            target_scores, of_source=False, kind=self.kind
        )
        return {
            "loss_adversarial": self.weight * fooling,
            "loss_discriminator": telling / 2,
            "domain_accuracy": domain_accuracy(source_scores, target_scores, self.kind),
        }

    @staticmethod
    def maps(logits: Tensor) -> Tensor:
        """What the discriminator judges: class probabilities.

        Args:
            logits: Shape (B, C, H, W).

        Returns:
            Same shape.
        """
        return logits.softmax(dim=1)
