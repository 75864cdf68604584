"""Weights as a safetensors file, which holds numbers alone and can run no code."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from mmdrsl.atomic_files import replacing


def write_safetensors(
    weights: Mapping[str, Tensor],
    path: Path,
    *,
    classes: Sequence[str],
    palette: Sequence[Sequence[int]],
) -> None:
    """Write the file; its metadata are ``classes`` and ``palette`` as JSON.

    Args:
        weights: Weights by name.
        path: Where to write.
        classes: Names of the classes.
        palette: RGB color (0..255) per class.

    Raises:
        ImportError: The package safetensors is missing.
    """
    try:
        from safetensors.torch import save_file
    except ImportError as error:
        raise ImportError(
            "--safetensors needs the package safetensors. Run: pip install 'mmdrsl[export]'"
        ) from error
    metadata = {
        "format": "pt",
        "classes": json.dumps(list(classes)),
        "palette": json.dumps([list(color) for color in palette]),
    }
    # Of weights that several parts share, each part gets its own.
    apart = {name: value.contiguous().clone() for name, value in weights.items()}
    with replacing(path) as temporary:
        save_file(apart, temporary, metadata=metadata)
