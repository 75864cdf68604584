"""Means and deviations of rows over seeds, and differences seed by seed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any


@dataclass(frozen=True)
class Spread:
    """Some values of one quantity.

    Attributes:
        values: The values by seed.
        seeds: Number of seeds, those without a value included.
    """

    values: dict[int, float]
    seeds: int

    @property
    def mean(self) -> float:
        """Arithmetic mean."""
        return fmean(self.values.values())

    @property
    def deviation(self) -> float | None:
        """Sample standard deviation; None for one value."""
        return stdev(self.values.values()) if len(self.values) > 1 else None

    def text(self, digits: int = 1) -> str:
        """Mean and deviation, such as ``34.1 ± 0.5``, with the number of seeds where some have no value.

        Args:
            digits: Decimal places.

        Returns:
            The text; without a deviation for one value.
        """
        text = f"{self.mean:.{digits}f}"
        if self.deviation is not None:
            text += f" ± {self.deviation:.{digits}f}"
        if len(self.values) < self.seeds:
            text += f" ({len(self.values)} of {self.seeds} seeds)"
        return text


def spread(
    rows: Iterable[Mapping[str, Any]], value: Callable[[Mapping[str, Any]], float | None]
) -> Spread | None:
    """Collect one quantity of the rows of one method.

    Args:
        rows: Rows of one method and model.
        value: The quantity of a row; None where it has none.

    Returns:
        The values; None where no row has one.
    """
    found = {row["seed"]: value(row) for row in rows}
    values = {seed: float(entry) for seed, entry in found.items() if entry is not None}
    return Spread(values, seeds=len(found)) if values else None


def paired_differences(
    rows: Iterable[Mapping[str, Any]],
    others: Iterable[Mapping[str, Any]],
    value: Callable[[Mapping[str, Any]], float],
) -> Spread | None:
    """Differences of two methods on the seeds that both have.

    Args:
        rows: Rows of a method.
        others: Rows of the method that is subtracted.
        value: The quantity.

    Returns:
        Differences by seed; None where they have no seed in common.
    """
    first = {row["seed"]: value(row) for row in rows}
    second = {row["seed"]: value(row) for row in others}
    common = {seed: first[seed] - second[seed] for seed in sorted(first) if seed in second}
    return Spread(common, seeds=len(common)) if common else None
