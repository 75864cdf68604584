"""DAFormer: features of things stay near those of the encoder's ImageNet weights.

Paper: Hoyer et al., "DAFormer: Improving Network Architectures and Training Strategies for Domain-Adaptive Semantic
Segmentation" (CVPR 2022): its thing-class ImageNet feature distance, on the self-training of DACS with a
teacher of rate min(1 - 1 / (t + 1), 0.999), rare class sampling (`RareClassSampling`) and `DAFormerHead`. Defaults:
factor 0.005, cells of which a thing has 75 %. The released code takes the mean over no cell, which is NaN, where an
image shows no thing; here it is 0.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.logging import MMLogger
from mmengine.model import PretrainedInit
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmdrsl.methods.adaptation_term import AdaptationTerm
from mmdrsl.models.adaptation_step import AdaptationStep
from mmdrsl.models.detail_maps import half_size
from mmdrsl.models.losses.rank_sums import mean_over_ranks

# Cityscapes' things without its flat and vertical surfaces and nature, as published, and the same classes as label
# spaces of fewer classes join them.
THINGS = (
    "traffic light",
    "traffic sign",
    "person",
    "rider",
    "car",
    "truck",
    "bus",
    "train",
    "motorcycle",
    "bicycle",
    "sign_or_light",
    "vehicle",
    "two_wheeler",
)
MIN_SHARE = 0.75


def cells_of_classes(
    labels: Tensor, classes: Sequence[int], size: tuple[int, int], min_share: float = MIN_SHARE
) -> Tensor:
    """Cells of a feature map of which one of the classes has a share of the pixels.

    Args:
        labels: Shape (B, H, W), integers.
        classes: Train ids.
        size: (h, w) of the feature map.
        min_share: The share, in (0.5, 1]; above one half no other class has more.

    Returns:
        Boolean, shape (B, h, w).
    """
    own = torch.stack([labels == each for each in classes], dim=1).float()
    return (F.adaptive_avg_pool2d(own, size) >= min_share).any(dim=1)


def coarsest_map(maps: Sequence[Tensor]) -> Tensor:
    """The smallest of the feature maps, the last of those that are equally small.

    Args:
        maps: Feature maps of a backbone; SegNet's indices and sizes among them are passed over.
    """
    features = [each for each in maps if each.is_floating_point() and each.shape[1] > 0]
    return min(reversed(features), key=lambda each: each.shape[2] * each.shape[3])


def frozen_copy(module: nn.Module) -> nn.Module:
    """A copy that no optimizer finds: in evaluation mode, with buffers in place of parameters.

    Args:
        module: Any module; it stays as it is.
    """
    frozen = copy.deepcopy(module)
    # MMSegmentation's backbones return nothing from it.
    frozen.eval()
    for part in frozen.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            del part._parameters[name]
            part.register_buffer(name, parameter.detach())
    return frozen


@MODELS.register_module()
class FeatureDistanceTerm(AdaptationTerm):
    """Distance of the encoder's features of things to those of the weights that it began with.

    ``mean over cells of || F(n) - F0(n) ||``: the Euclidean distance over the channels of the backbone's coarsest map,
    on source images, over cells that mostly show a thing. F0 is in evaluation mode. With HRDA both read the context.

    The weights to stay near are those of the backbone's ``init_cfg``; without any, set `weight` to 0. For foundation
    models the distance does harm (see the abstract of "VFM-UDA++", arXiv 2503.10685): leave the term out.

    Args:
        weight: Factor, >= 0; 0 runs nothing.
        classes: Names of the classes that count; None takes the things of Cityscapes, and what label spaces make of
            them, of which the label space of the model needs one.

    Raises:
        ValueError: The segmentor has a neck, or the label space lacks the classes.
    """

    encoder: nn.Module

    def __init__(self, *, weight: float = 0.005, classes: Sequence[str] | None = None) -> None:
        super().__init__(domains=("source",), weight=weight)
        self.classes = classes
        self.ids: list[int] = []

    def begin_with(self, segmentor: Any, classes: Sequence[str] | None) -> None:
        """Copy the backbone, and find the classes.

        Args:
            segmentor: The segmentor.
            classes: Classes of the model's label space.

        Raises:
            ValueError: As the class says.
        """
        if self.weight == 0:
            return
        if segmentor.with_neck:
            raise ValueError(
                "FeatureDistanceTerm compares maps of a backbone, and the segmentor has a neck: leave the term out, or "
                "set its weight to 0."
            )
        known = list(classes or ())
        wanted = THINGS if self.classes is None else self.classes
        self.ids = [known.index(name) for name in wanted if name in known]
        missing = [name for name in self.classes or () if name not in known]
        if missing or not self.ids:
            raise ValueError(
                f"FeatureDistanceTerm: the model's label space has the classes {known}, and none of "
                f"{missing or list(wanted)}. Set model.label_space, and classes of the term to names of it."
            )
        if "encoder" in self._modules:
            self.encoder.load_state_dict(segmentor.backbone.state_dict())
            self._warn_of_random_weights(segmentor.backbone)
        else:
            self.encoder = frozen_copy(segmentor.backbone)

    def _warn_of_random_weights(self, backbone: Any) -> None:
        given = getattr(backbone, "init_cfg", None) or []
        given = given if isinstance(given, list) else [given]
        if not any(each.get("type") in ("Pretrained", PretrainedInit) for each in given):
            MMLogger.get_current_instance().warning(
                "FeatureDistanceTerm keeps features near those of a backbone without init_cfg of type Pretrained: "
                "random ones. Give weights, or set the term's weight to 0."
            )

    def train(self, mode: bool = True) -> FeatureDistanceTerm:
        """Set training or evaluation mode; the copy always evaluates."""
        super().train(mode)
        if "encoder" in self._modules:
            self.encoder.eval()
        return self

    def forward(self, step: AdaptationStep) -> dict[str, Tensor]:
        """The distance, and the share of cells that count."""
        batch = step.domains["source"]
        if self.weight == 0:
            nothing = batch.inputs.new_zeros(())
            return {"loss_distance": nothing, "thing_share": nothing}
        maps = batch.features
        features = coarsest_map(maps)
        with torch.no_grad():
            images = batch.inputs if maps.detail is None else half_size(batch.inputs)
            first = coarsest_map(self.encoder(images))
        cells = cells_of_classes(batch.labels, self.ids, (features.shape[2], features.shape[3]))
        difference = (features - first).float().movedim(1, -1)[cells]
        distance = difference.norm(dim=1).sum()
        loss = mean_over_ranks(distance, cells.sum().to(distance))
        return {"loss_distance": self.weight * loss, "thing_share": cells.float().mean()}
