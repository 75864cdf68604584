"""Plain vision transformers of timm (DINOv2, DINOv3, EVA-02, ...) as a backbone for images of any size."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from mmdrsl.finite_values import non_finite_names
from mmdrsl.models.backbones.adapters import Rein, add_low_rank, frozen_part, split_smallest
from mmdrsl.models.backbones.vit_weights import convert_vit_weights
from mmdrsl.models.backbones.weight_conversion import read_state_dict, weights_below

TUNING = ("full", "frozen", "lora", "soma", "rein")
MERGED_TUNING = ("lora", "soma")
"""Ways of tuning whose additions become part of plain weights."""

# timm's modules of plain transformers; all their classes read position embeddings and sizes alike.
_MODULES = ("vision_transformer", "eva")


def _build(arch: str, options: Mapping[str, Any]) -> Any:
    """Network of timm without a classifier, with random weights."""
    try:
        import timm
    except ImportError as error:
        raise ImportError(
            "PlainViT needs the package timm; install it with pip install -e '.[vit]'"
        ) from error
    name = arch.partition(".")[0]
    if not timm.is_model(name):
        raise ValueError(
            f"timm {timm.__version__} has no model {arch!r}; timm.list_models('*dinov2*') lists those with such a name"
        )
    if not timm.models.is_model_in_modules(name, _MODULES):
        raise ValueError(
            f"{arch} of timm is no plain vision transformer, expected one of its modules {' and '.join(_MODULES)}; "
            "MMSegmentation's TIMMBackbone takes networks with stages"
        )
    given: dict[str, Any] = dict(dynamic_img_size=True, dynamic_img_pad=True, **options)
    return timm.create_model(arch, pretrained=False, num_classes=0, global_pool="", **given)


@MODELS.register_module()
class PlainViT(BaseModule):
    """A vision transformer of one resolution: maps of patch tokens, all of the same size.

    Position embeddings are interpolated to the image (bicubic), which is padded at the bottom and right to whole
    patches. Maps are normalized by the last norm.

    Under ``tuning="full"`` all weights are trained and under ``"frozen"`` none. ``"lora"`` (Hu et al. 2022) and
    ``"soma"`` (Yun et al. 2025) train products of low rank that are added to the linear layers of the blocks,
    ``"rein"`` (Wei et al. 2024) trains tokens that refine the maps behind every block; the rest is frozen.

    Args:
        arch: Name in timm, such as ``vit_base_patch14_dinov2``.
        out_indices: Blocks whose output is returned, counted from 0; None for the last.
        tuning: What is trained, see above.
        rank: Rank of the additions, >= 1.
        first_block: First block that has additions.
        with_cp: Keep only the inputs of the blocks for the backward pass, and compute the rest again.
        options: Further arguments of timm's ``create_model``, such as ``drop_path_rate``.
        init_cfg: ``dict(type="Pretrained", checkpoint=FILE)``, with ``prefix`` where FILE holds more; None for random
            weights. FILE is read as timm, HuggingFace or the authors publish it, see `convert_vit_weights`.

    Raises:
        ImportError: timm is not installed.
        ValueError: An argument is outside its range, or timm has no such plain transformer.
    """

    # UDASegmentor checks the files of other backbones, which MMEngine would read without a check.
    reads_its_file = True

    def __init__(
        self,
        *,
        arch: str,
        out_indices: Sequence[int] | None = None,
        tuning: str = "full",
        rank: int = 16,
        first_block: int = 0,
        with_cp: bool = False,
        options: Mapping[str, Any] | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if tuning not in TUNING:
            raise ValueError(f"tuning must be one of {list(TUNING)}, found {tuning!r}.")
        if init_cfg is not None and init_cfg.get("type") != "Pretrained":
            raise ValueError(
                f"init_cfg of PlainViT must be dict(type='Pretrained', checkpoint=FILE), found {init_cfg}."
            )
        self.vit = _build(arch, options or {})
        depth = len(self.vit.blocks)
        if rank < 1 or not 0 <= first_block < depth:
            raise ValueError(
                f"rank must be >= 1 and first_block in [0, {depth - 1}], found {rank} and {first_block}."
            )
        indices = [depth - 1] if out_indices is None else sorted(out_indices)
        if not indices or indices[-1] >= depth:
            raise ValueError(
                f"out_indices must name some of {depth} blocks, counted from 0, found {out_indices}."
            )
        self.out_indices = indices
        self.tuning = tuning
        self.vit.set_grad_checkpointing(with_cp)
        if tuning != "full":
            self.vit.requires_grad_(False)
        blocks = self.vit.blocks[first_block:]
        if tuning in MERGED_TUNING:
            add_low_rank(blocks, rank=rank)
        if tuning == "rein":
            height, width = self.vit.patch_embed.patch_size
            self.rein = Rein(
                num_layers=len(blocks),
                channels=self.vit.embed_dim,
                rank=rank,
                patch_area=height * width,
            )
            for layer, block in enumerate(blocks):
                block.register_forward_hook(functools.partial(self._refine, layer))

    def _refine(self, layer: int, block: nn.Module, inputs: Any, tokens: Tensor) -> Tensor:
        """Refine the patch tokens behind a block; class and register tokens pass by."""
        patches = self.rein(tokens[:, self.vit.num_prefix_tokens :], layer)
        return torch.cat([tokens[:, : self.vit.num_prefix_tokens], patches.to(tokens)], dim=1)

    def init_weights(self) -> None:
        """Read the file of ``init_cfg``; split the adapted layers under ``tuning="soma"``.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: It does not fit, or holds values that are no numbers.
        """
        if self.init_cfg is not None:
            weights = read_state_dict(self.init_cfg["checkpoint"])
            prefix = self.init_cfg.get("prefix")
            if prefix:
                weights = weights_below(f"{prefix.removesuffix('.')}.", weights)
            self.load_vit(weights)
        if self.tuning == "soma":
            for layer in filter(is_parametrized, self.vit.modules()):
                split_smallest(layer)
        self._is_init = True

    def load_vit(self, weights: Mapping[str, Tensor]) -> None:
        """Take over weights of the transformer; additions stay as they are.

        Args:
            weights: Weights by the names of a published file.

        Raises:
            ValueError: They do not fit, or hold values that are no numbers.
        """
        converted = convert_vit_weights(weights, self.vit)
        damaged = non_finite_names(converted)
        if damaged:
            raise ValueError(
                f"{len(damaged)} weights hold NaN or infinite values, the first is {damaged[0]}: fetch the file again, "
                "or give another one."
            )
        own = frozen_part(self.vit.state_dict())
        for key, value in converted.items():
            own[key].copy_(value)

    def layer_of(self, name: str) -> int:
        """Depth of a parameter: 0 for embeddings, i + 1 for block i, one more for what follows all blocks.

        Args:
            name: Its name in this backbone.
        """
        block = re.match(r"vit\.blocks\.(\d+)\.", name)
        if block:
            return int(block[1]) + 1
        return len(self.vit.blocks) + 1 if name.startswith(("vit.norm.", "rein.")) else 0

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Maps of patch tokens.

        Args:
            images: Normalized images, (B, 3, H, W).

        Returns:
            One map per entry of ``out_indices`` in the order of the blocks, (B, C, ceil(H / P), ceil(W / P)) for
            patches of P pixels.
        """
        return tuple(
            self.vit.forward_intermediates(
                images,
                indices=self.out_indices,
                norm=True,
                stop_early=True,
                intermediates_only=True,
            )
        )
