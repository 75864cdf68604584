"""Options of MMSegmentation's own datasets that say with ids what this project's datasets say with names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmdrsl.datasets.label_spaces import IGNORE_INDEX, LabelSpace


def check_stock_options(
    space: LabelSpace,
    metainfo: Mapping[str, Any] | None,
    reduce_zero_label: bool,
    ignore_index: int,
) -> None:
    """Refuse options that a dataset of names cannot follow, and say what takes their place.

    Args:
        space: The dataset's label space.
        metainfo: Classes and palette; None, or those of the label space.
        reduce_zero_label: False.
        ignore_index: `IGNORE_INDEX`.

    Raises:
        ValueError: An option has another value.
    """
    if reduce_zero_label:
        raise ValueError(
            "reduce_zero_label=True shifts ids, which go by name here: leave it out, give id 0 a name in the dataset's "
            "table, and list that name in the table's void"
        )
    if ignore_index != IGNORE_INDEX:
        raise ValueError(
            f"ignore_index is {ignore_index}, expected {IGNORE_INDEX}: leave it out, and list the name of the raw id "
            "that is to be ignored in the void of the dataset's table"
        )
    own = {"classes": _plain(space.classes), "palette": _plain(space.palette)}
    different = [key for key, value in (metainfo or {}).items() if own.get(key) != _plain(value)]
    if different:
        raise ValueError(
            f"metainfo differs from the label space '{space.name}' in {different}: leave it out, and give its classes "
            "as label_space=dict(name='mine', classes=[...], palette=[...])"
        )


def _plain(value: Any) -> Any:
    """Lists for tuples, which mean the same."""
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
