"""Weights of plain vision transformers: published files, renamed to the keys of timm's modules."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mmdrsl.models.backbones.adapters import frozen_part
from mmdrsl.models.backbones.weight_conversion import misfit

# Where the patch embedding is says which prefix all keys of a file have.
_PATCH_EMBEDDING = re.compile(
    r"(.*?)(?:patch_embed\.proj|embeddings\.patch_embeddings(?:\.projection)?)\.weight"
)
# Names of HuggingFace's Dinov2Model, Dinov2WithRegistersModel, DINOv3ViTModel and ViTModel -> those of the releases.
_HUGGINGFACE = (
    (r"^(?:encoder\.|model\.)?layer\.(\d+)\.", r"blocks.\1."),
    (r"^embeddings\.patch_embeddings(?:\.projection)?\.", "patch_embed.proj."),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.", ""),
    (r"\.attention\.(?:attention\.)?(?:query|q_proj)\.", ".attn.q."),
    (r"\.attention\.(?:attention\.)?(?:key|k_proj)\.", ".attn.k."),
    (r"\.attention\.(?:attention\.)?(?:value|v_proj)\.", ".attn.v."),
    (r"\.attention\.(?:output\.dense|o_proj)\.", ".attn.proj."),
    (r"\.layer_scale([12])\.lambda1$", r".ls\1.gamma"),
    (r"\.mlp\.weights_in\.", ".mlp.w12."),
    (r"\.mlp\.weights_out\.", ".mlp.w3."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"\.output\.dense\.", ".mlp.fc2."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"^layernorm\.", "norm."),
)
# What follows the features; "lm_head" is that of masked image modeling.
_HEADS = ("head.", "head_dist.", "fc_norm.", "pre_logits.", "pooler.", "classifier.", "lm_head.")


def convert_vit_weights(weights: Mapping[str, Tensor], vit: Any) -> dict[str, Tensor]:
    """Rename the weights of a plain vision transformer to the keys of timm's module.

    Files of timm, of HuggingFace (DINOv2, DINOv2 with registers, DINOv3, ViT) and of the original releases (DINOv2,
    DINOv3, EVA-02 and what else timm's ``checkpoint_filter_fn`` reads) are known, below any prefix. Classifiers, mask
    tokens and a pooler are dropped. A norm behind the pooling takes the place of the last norm where a file has no
    other. Position embeddings of another number of patches are interpolated.

    Args:
        weights: Weights by the names of a file.
        vit: timm's ``VisionTransformer`` or ``Eva``, without a classifier, maybe with additions of low rank.

    Returns:
        Weights by the names of ``vit`` without additions; every one is there.

    Raises:
        ValueError: The weights are of another network, or have biases that ``vit`` lacks.
    """
    found = _renamed(_without_prefix(weights))
    _check_patch_size(found, vit)
    found = _without_empty_biases(found, vit)
    # timm's reader of an architecture is beside its class.
    converted = sys.modules[type(vit).__module__].checkpoint_filter_fn(found, vit)
    expected = frozen_part(vit.state_dict())
    for leaf in ("weight", "bias"):
        if f"norm.{leaf}" in expected and f"norm.{leaf}" not in converted:
            norm = converted.get(f"fc_norm.{leaf}")
            if norm is not None:
                converted[f"norm.{leaf}"] = norm
    converted = {
        key: value
        for key, value in converted.items()
        if not key.startswith(_HEADS) and key != "mask_token"
    }
    wrong = misfit(converted, expected)
    if wrong:
        raise ValueError(
            f"the weights do not fit {type(vit).__name__} of {len(vit.blocks)} blocks and {vit.embed_dim} channels: "
            f"{wrong}; give the timm name of the network that they were made for as arch"
        )
    return converted


def _without_prefix(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights beside the first patch embedding, by what follows their common prefix."""
    matches = (_PATCH_EMBEDDING.fullmatch(key) for key in weights)
    prefix = next((match[1] for match in matches if match), "")
    return {key[len(prefix) :]: value for key, value in weights.items() if key.startswith(prefix)}


def _renamed(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """HuggingFace's names as those of the original releases; others stay."""
    if not any(key.startswith("embeddings.") for key in weights):
        return dict(weights)
    renamed = {}
    for key, value in weights.items():
        for pattern, name in _HUGGINGFACE:
            key = re.sub(pattern, name, key)
        renamed[key] = value
    rotary = "pos_embed" not in renamed
    if rotary and "register_tokens" in renamed:
        renamed["storage_tokens"] = renamed.pop("register_tokens")
    gated = any(".mlp.gate_proj." in key for key in renamed)
    new = {"gate_proj": "w1", "up_proj": "w2" if gated else "fc1"}
    new["down_proj"] = "w3" if gated else "fc2"
    renamed = {
        re.sub(r"(?<=\.mlp\.)(gate_proj|up_proj|down_proj)", lambda match: new[match[1]], key): v
        for key, v in renamed.items()
    }
    return _with_joined_attention(renamed)


def _with_joined_attention(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Query, key and value as one layer; a missing bias is zero where another one is there."""
    for stem in [key[: -len("q.weight")] for key in weights if key.endswith(".attn.q.weight")]:
        for leaf in ("weight", "bias"):
            parts = [weights.pop(f"{stem}{part}.{leaf}", None) for part in "qkv"]
            given = [part for part in parts if part is not None]
            if given:
                joined = [torch.zeros_like(given[0]) if part is None else part for part in parts]
                weights[f"{stem}qkv.{leaf}"] = torch.cat(joined)
    return weights


def _check_patch_size(weights: Mapping[str, Tensor], vit: Any) -> None:
    """Refuse another patch size, for which timm would resample the filters."""
    kernel = weights.get("patch_embed.proj.weight")
    expected = vit.patch_embed.proj.weight
    if kernel is not None and kernel.ndim == 4 and kernel.shape[2:] != expected.shape[2:]:
        raise ValueError(
            f"the weights have patches of {tuple(kernel.shape[2:])} pixels, the network of "
            f"{tuple(expected.shape[2:])}; give the timm name of the network that they were made for as arch"
        )


def _without_empty_biases(weights: dict[str, Tensor], vit: Any) -> dict[str, Tensor]:
    """Leave out biases of DINOv3's attention that are zero and that the network lacks.

    The release has no bias of keys; what its files hold there does not count.
    """
    expected = vit.state_dict()
    for key in [key for key in weights if key.endswith(".attn.qkv.bias")]:
        if "storage_tokens" not in weights or key.replace("qkv.bias", "q_bias") in expected:
            continue
        query, _, value = weights.pop(key).chunk(3)
        if query.any() or value.any():
            raise ValueError(
                f"the weights have {key}, which the network lacks; give the timm name that ends with _qkvb as arch"
            )
    return weights
