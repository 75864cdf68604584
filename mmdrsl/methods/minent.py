"""MinEnt: the entropy of target predictions is minimized directly.

Paper: Vu et al., "ADVENT" (CVPR 2019), equations 1 and 2. Defaults: factor 1e-3 on the output, 2e-4 on a second
classifier.
"""

from __future__ import annotations

from mmseg.registry import MODELS
from torch import Tensor

from mmdrsl.methods.adaptation_term import AdaptationTerm
from mmdrsl.models.adaptation_step import AdaptationStep
from mmdrsl.models.losses.entropy import mean_entropy


@MODELS.register_module()
class EntropyTerm(AdaptationTerm):
    """``weight * mean over pixels of -sum_c p log p / log C``; needs no labels of the target.

    Args:
        weight: Factor, >= 0; ADVENT's release has 1e-3 on the main output and 2e-4 on the auxiliary one.
        head: Classifier in ``model.heads``; None takes the segmentor's decode head.
    """

    def __init__(self, *, weight: float = 1e-3, head: str | None = None) -> None:
        super().__init__(domains=("target",), weight=weight)
        self.head = head

    def forward(self, step: AdaptationStep) -> dict[str, Tensor]:
        """The loss and the mean entropy."""
        entropy = mean_entropy(step.full_size_logits("target", self.head))
        return {"loss_entropy": self.weight * entropy, "entropy": entropy.detach()}
