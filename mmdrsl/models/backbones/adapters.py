"""Small trained additions to a frozen transformer: LoRA and SoMA on its linear layers, Rein behind its blocks."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

# Where PyTorch's parametrization keeps the frozen matrix and the trained factors.
_FROZEN = ".parametrizations.weight.original"
_FACTORS = ".parametrizations.weight.0."


class LowRank(nn.Module):
    """Adds a trained product of two thin matrices to a frozen weight (LoRA, Hu et al., ICLR 2022; alpha = r).

    ``up`` starts at zero, so that nothing changes at first.

    Args:
        rows: Rows of the weight.
        columns: Its columns.
        rank: Columns of ``up`` and rows of ``down``.
    """

    def __init__(self, rows: int, columns: int, rank: int) -> None:
        super().__init__()
        self.up = nn.Parameter(torch.zeros(rows, rank))
        self.down = nn.Parameter(torch.empty(rank, columns))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, weight: Tensor) -> Tensor:
        """The adapted weight, shape (rows, columns)."""
        return weight + self.up @ self.down


def add_low_rank(blocks: Iterable[nn.Module], *, rank: int) -> None:
    """Adapt every linear layer of some blocks.

    Args:
        blocks: Modules whose linear layers are adapted; their weights are frozen by the caller.
        rank: Rank of the additions; a layer with fewer rows or columns has that many.
    """
    layers = [
        module for block in blocks for module in block.modules() if isinstance(module, nn.Linear)
    ]
    for layer in layers:
        rows, columns = layer.weight.shape
        addition = LowRank(rows, columns, min(rank, rows, columns))
        parametrize.register_parametrization(layer, "weight", addition)


@torch.no_grad()
def split_smallest(layer: Any) -> None:
    """Give the trained product the smallest singular components of a weight (SoMA, Yun et al., CVPR 2025).

    ``W = U S V^T``; of the r smallest, ``up = U_r sqrt(S_r)`` and ``down = sqrt(S_r) V_r^T``; ``W - up down`` is
    frozen. The adapted weight stays W.

    Args:
        layer: A layer of `add_low_rank`.
    """
    entry = layer.parametrizations.weight
    left, values, right = torch.linalg.svd(layer.weight.float(), full_matrices=False)
    rank = entry[0].up.shape[1]
    root = values[-rank:].sqrt()
    whole = layer.weight.clone()
    entry[0].up.copy_(left[:, -rank:] * root)
    entry[0].down.copy_(root[:, None] * right[-rank:])
    entry.original.copy_(whole - entry[0].up @ entry[0].down)


def frozen_part(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights without additions, by the names of the network without them; the tensors are the given ones.

    Args:
        weights: Weights by name, of a network with or without `add_low_rank`.
    """
    return {
        key.replace(_FROZEN, ".weight"): value
        for key, value in weights.items()
        if _FACTORS not in key
    }


def merged(weights: Mapping[str, Tensor]) -> OrderedDict[str, Tensor]:
    """Weights of a network whose additions to linear layers are part of the weights themselves.

    Args:
        weights: Weights by name, of a network with or without `add_low_rank`.

    Returns:
        Weights by the names of the network without additions. Others are passed through.
    """
    result = OrderedDict(frozen_part(weights))
    for key in weights:
        if key.endswith(_FROZEN):
            layer = key.removesuffix(_FROZEN)
            up, down = (weights[f"{layer}{_FACTORS}{name}"] for name in ("up", "down"))
            result[f"{layer}.weight"] = result[f"{layer}.weight"] + up @ down
    return result


class Rein(nn.Module):
    """Refines the patch tokens behind every block by trained tokens (Rein, Wei et al., CVPR 2024).

    ``f' = f + s M_f(softmax(f T_i^T / sqrt(c))[:, 1:] M_t(T_i[1:]) + f)``, with linear layers M_f and M_t that the
    blocks share, and tokens ``T_i = A_i B_i`` of low rank.

    Args:
        num_layers: Number of refined blocks.
        channels: c.
        rank: Columns of A_i.
        num_tokens: Tokens of every block.
        patch_area: Pixels of a patch, for the range of the first tokens.
    """

    def __init__(
        self, *, num_layers: int, channels: int, rank: int, patch_area: int, num_tokens: int = 100
    ) -> None:
        super().__init__()
        self.left = nn.Parameter(torch.empty(num_layers, num_tokens, rank))
        self.right = nn.Parameter(torch.empty(num_layers, rank, channels))
        bound = math.sqrt(6 / (3 * patch_area + math.sqrt(channels * rank)))
        for factor in (self.left, self.right):
            nn.init.uniform_(factor, -bound, bound)
        self.of_tokens = nn.Linear(channels, channels)
        self.of_features = nn.Linear(channels, channels)
        self.scale = nn.Parameter(torch.tensor(0.001))

    def forward(self, features: Tensor, layer: int) -> Tensor:
        """Refined features, shape (B, N, c).

        Args:
            features: Patch tokens, (B, N, c).
            layer: Which of the refined blocks they come from.
        """
        tokens = self.left[layer] @ self.right[layer]
        similarity = (features @ tokens.T / math.sqrt(features.shape[-1])).softmax(-1)
        change = similarity[..., 1:] @ self.of_tokens(tokens[1:])
        return features + self.scale * self.of_features(change + features)
