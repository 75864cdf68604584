"""Finds values that are not numbers any more."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def non_finite_names(state: Mapping[str, object]) -> list[str]:
    """Names of the tensors of a state that hold NaN or Inf.

    Args:
        state: Tensors by name; other values are passed over.

    Returns:
        The names, in order.
    """
    checked = {
        name: value.isfinite().all()
        for name, value in state.items()
        if isinstance(value, Tensor) and value.is_floating_point()
    }
    if not checked:
        return []
    # One transfer for all of them.
    finite = torch.stack(
        [each.to(next(iter(checked.values())).device) for each in checked.values()]
    )
    return [name for name, good in zip(checked, finite.tolist(), strict=True) if not good]
