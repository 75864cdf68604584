"""ADVENT: as AdaptSegNet, on maps of the prediction's entropy.

Paper: Vu et al., "ADVENT: Adversarial Entropy Minimization for Domain Adaptation in Semantic Segmentation" (CVPR 2019),
equations 5 to 7. Defaults: factor 1e-3 on the output, 2e-4 on a second classifier. The released code adds 1e-30 inside
the logarithm; here a log-softmax needs no guard.
"""

from __future__ import annotations

from mmseg.registry import MODELS
from torch import Tensor

from mmdrsl.methods.adaptsegnet import AdversarialTerm
from mmdrsl.models.losses.entropy import self_information


@MODELS.register_module()
class EntropyAdversarialTerm(AdversarialTerm):
    """`AdversarialTerm` on weighted self-information maps ``-p log p / log C``; takes its arguments."""

    @staticmethod
    def maps(logits: Tensor) -> Tensor:
        """What the discriminator judges: weighted self-information, see `self_information`."""
        return self_information(logits)
