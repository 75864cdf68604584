"""Smaller learning rates for earlier layers of a backbone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mmengine.optim import DefaultOptimWrapperConstructor
from mmseg.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayConstructor(DefaultOptimWrapperConstructor):
    """MMEngine's own constructor, whose rates fall from block to block towards the images (BEiT, Bao et al. 2022).

    Block i of L has ``layer_decay ** (L - i)`` of its rate, embeddings ``layer_decay ** (L + 1)``, what follows the
    blocks all of it, and so has everything outside of the backbone. The backbone says by ``layer_of(name)`` which layer
    a parameter belongs to, as `PlainViT` does. Additional entry of ``paramwise_cfg``: ``layer_decay`` in (0, 1]; 1.0
    changes nothing. MMSegmentation's constructors for this know BEiT, MAE and ConvNeXt alone.
    """

    def add_params(self, params: list[dict], module: nn.Module, **kwargs: Any) -> None:
        """Add one group per parameter, see MMEngine.

        Args:
            params: Groups, added to in place.
            module: Module whose parameters are added.
            kwargs: ``prefix`` and further arguments of MMEngine's recursion.

        Raises:
            ValueError: ``layer_decay`` is outside its range, or no backbone has layers.
        """
        super().add_params(params, module, **kwargs)
        if kwargs.get("prefix"):
            return
        decay = self.paramwise_cfg.get("layer_decay", 1.0)
        if not 0 < decay <= 1:
            raise ValueError(f"paramwise_cfg.layer_decay must be in (0, 1], found {decay}.")
        modules: Iterable[Any] = module.modules()
        layers = {
            id(parameter): backbone.layer_of(name)
            for backbone in modules
            if hasattr(backbone, "layer_of")
            for name, parameter in backbone.named_parameters()
        }
        if not layers:
            raise ValueError(
                "LayerDecayConstructor needs a backbone that tells the layers of its parameters, such as PlainViT: "
                "use one, or leave out optim_wrapper.constructor."
            )
        last = max(layers.values())
        for group in params:
            layer = layers.get(id(group["params"][0]))
            if layer is not None:
                group["lr"] = group.get("lr", self.base_lr) * decay ** (last - layer)
