"""Results of runs as rows: written one by one, put together, compared with source-only and oracle."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from mmdrsl.benchmark.methods import LOWER_BOUND, UPPER_BOUND, order_key
from mmdrsl.benchmark.protocol import check_equal

FORMAT = 4
_IOU = "IoU."
_OF_SEQUENCE = ".mIoU"
_COMPARISON = ("evaluation", "tricks", "model")
_RECIPE = (*_COMPARISON, "translations", "method")
_KEY = (*_RECIPE, "seed")
# Entries of ``shared`` in a row, as messages call them.
_SHARED = {
    "version": "versions of mmdrsl",
    "options": "--cfg-options",
    "weights": "files of initial weights",
}
_RESULT = ("config_hash", "mIoU", "aAcc", "IoU", "sequences")


def scores_of(metrics: Mapping[str, float]) -> dict[str, Any]:
    """Arrange what `ClassIoUMetric` says.

    Args:
        metrics: Percentages by name; a value that is not finite is a class that does not occur.

    Returns:
        ``mIoU``, ``aAcc``, ``IoU`` by class, ``sequences`` (mIoU by sequence) and ``mean_of_sequences``, the headline:
        the mean of the latter.
    """
    finite = {name: value for name, value in metrics.items() if isfinite(value)}
    sequences = {
        name.removesuffix(_OF_SEQUENCE): value
        for name, value in finite.items()
        if name.endswith(_OF_SEQUENCE)
    }
    headline = list(sequences.values()) or [finite["mIoU"]]
    return {
        "mIoU": finite["mIoU"],
        "aAcc": finite["aAcc"],
        "IoU": {
            name.removeprefix(_IOU): value
            for name, value in finite.items()
            if name.startswith(_IOU)
        },
        "sequences": sequences,
        "mean_of_sequences": round(sum(headline) / len(headline), 3),
    }


def gap_recovered(value: float, source: float, oracle: float) -> float | None:
    """How much of the way from source-only training to the oracle: ``100 (value - source) / (oracle - source)``.

    Args:
        value: Score of a method.
        source: Score of source-only training.
        oracle: Score of the oracle.

    Returns:
        Percent, 100 where the method reaches the oracle; None where the two ends coincide.
    """
    return None if oracle == source else 100 * (value - source) / (oracle - source)


def with_gaps(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Add to every row what it recovers of the gap between source-only and oracle of its own model and seed.

    Args:
        rows: Rows of any number of comparisons.

    Returns:
        The rows in a fixed order, with ``gap_recovered`` (of mIoU), ``gap_recovered_headline`` (of the mean of the
        sequences) and ``gap_recovered_known_classes`` (of the mean IoU over the classes on which source-only training
        scores above zero), in percent; None where source-only or oracle is missing.
    """
    found = sorted((dict(row) for row in rows), key=_sort_key)
    by_key = {_key(row): row for row in found}
    # What the oracle is compared with where source-only training has translated images: any set, for its gap is whole.
    any_set = {_key({**row, "translations": None}): row for row in reversed(found)}
    for row in found:
        ends = []
        for method in (LOWER_BOUND, UPPER_BOUND):
            # Translated images are a method's own, or a trick that source-only training has as well.
            same, plain = (
                {**row, "method": method, "translations": name}
                for name in (row["translations"], None)
            )
            end = by_key.get(_key(same), by_key.get(_key(plain)))
            ends.append(
                any_set.get(_key(plain)) if end is None and row["method"] == UPPER_BOUND else end
            )
        row.update(_gaps(row, *ends))
    return found


def _gaps(
    row: Mapping[str, Any], source: Mapping[str, Any] | None, oracle: Mapping[str, Any] | None
) -> dict[str, float | None]:
    names = ("gap_recovered", "gap_recovered_headline", "gap_recovered_known_classes")
    if source is None or oracle is None:
        return dict.fromkeys(names)
    known = [name for name, value in source["IoU"].items() if value > 0]

    def over_known(entry: Mapping[str, Any]) -> float:
        # A class of the source-only row that does not occur here has neither ground truth nor predictions.
        values = [entry["IoU"][name] for name in known if name in entry["IoU"]]
        return sum(values) / len(values) if values else 0.0

    gaps = [
        gap_recovered(*(entry["mIoU"] for entry in (row, source, oracle))),
        gap_recovered(*(entry["mean_of_sequences"] for entry in (row, source, oracle))),
        gap_recovered(*(over_known(entry) for entry in (row, source, oracle))),
    ]
    return {
        name: None if gap is None else round(gap, 2) for name, gap in zip(names, gaps, strict=True)
    }


def _key(row: Mapping[str, Any]) -> tuple:
    return tuple(json.dumps(row[name]) for name in _KEY)


def _sort_key(row: Mapping[str, Any]) -> tuple:
    return (
        json.dumps(row["evaluation"]),
        row["tricks"],
        row["model"],
        row["seed"],
        order_key(row["method"]),
        row["translations"] or "",
    )


def merge_rows(groups: Sequence[Iterable[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Put rows of several benchmarks together.

    Args:
        groups: Rows of each.

    Returns:
        Every run once, with new gaps.

    Raises:
        ValueError: Two groups have different results of the same run, or rows to be compared differ in what
            `check_equal` wants equal.
    """
    known: dict[tuple, dict[str, Any]] = {}
    for rows in groups:
        for row in rows:
            plain = {name: value for name, value in row.items() if not name.startswith("gap_")}
            other = known.setdefault(_key(plain), plain)
            differing = [name for name in _RESULT if other[name] != plain[name]]
            if differing:
                raise ValueError(
                    f"two results of {plain['method']}, {plain['model']}, seed {plain['seed']} differ in {differing}: "
                    "leave one of the files out."
                )
    check_comparable(known.values())
    return with_gaps(known.values())


def check_comparable(rows: Iterable[Mapping[str, Any]]) -> None:
    """Refuse rows of one evaluation set, choice of tricks and network that differ in what `check_equal` wants equal.

    Rows of one method must be of one recipe, and all rows of the same data, version, options of the command line and
    initial weights, where they say so.

    Args:
        rows: Rows, finished or planned.

    Raises:
        ValueError: They differ.
    """
    rows = list(rows)
    _check_same(rows, "recipe_hash", _RECIPE, "options, weights or version")
    _check_same(rows, "data_hash", _COMPARISON, "lists or classes of the data")
    shared = [{**row, **_shared_of(row)} for row in rows]
    for entry, what in _SHARED.items():
        _check_same(shared, f"shared.{entry}", _COMPARISON, what, show=entry == "version")
    comparisons: dict[str, dict[str, Any]] = {}
    for row in rows:
        name = f"{row['method']}, seed {row['seed']}, {row['translations'] or 'originals'}"
        comparison = json.dumps([row[key] for key in _COMPARISON])
        other = comparisons.setdefault(comparison, {})
        # A planned run may be finished as well, in which case both must fit.
        other[name if name not in other else f"{name}, again"] = row["protocol"]
    for protocols in comparisons.values():
        check_equal(protocols)


def _shared_of(row: Mapping[str, Any]) -> dict[str, str]:
    """What a row says of what all methods share; one without the entry has its version in the environment."""
    found = dict(row.get("shared", {}))
    version = re.match(r"mmdrsl ([^,]+)", row.get("environment", ""))
    if version is not None:
        found.setdefault("version", version[1])
    return {f"shared.{name}": value for name, value in found.items()}


def _check_same(
    rows: Sequence[Mapping[str, Any]],
    entry: str,
    names: Sequence[str],
    what: str,
    *,
    show: bool = False,
) -> None:
    """Refuse rows that are alike in some entries and differ in another, whose values a message may show."""
    known: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        if entry not in row:
            continue
        other = known.setdefault(json.dumps([row[name] for name in names]), row)
        if other[entry] != row[entry]:
            values = f" ({other[entry]} and {row[entry]})" if show else ""
            titles = [f"{one['method']}, seed {one['seed']}" for one in (other, row)]
            raise ValueError(
                f"{' and '.join(titles)} ({row['model']}) were trained with other {what}{values}: choose another "
                "--out, or leave one of them out."
            )


def read_results(path: Path) -> list[dict[str, Any]]:
    """Read the rows of a file that `results_text` made.

    Args:
        path: The file.

    Returns:
        Its rows.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It holds something else.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There are no results {path}: name a results.json.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']}")
        for row in content["runs"]:
            _key(row)
            missing = [name for name in (*_RESULT, "protocol") if name not in row]
            if missing:
                raise ValueError(f"a row without {', '.join(missing)}")
        return list(content["runs"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} holds no results of format {FORMAT} ({error!r}): expected what tools/run_benchmark.py writes."
        ) from error


def results_text(rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows as the text of a results.json.

    Args:
        rows: Rows, gaps included.

    Returns:
        JSON.
    """
    return json.dumps({"format": FORMAT, "unit": "percent", "runs": list(rows)}, indent=1) + "\n"
