"""What a run has written down so far: its progress, evaluations and label coverage."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from mmdrsl.engine.round_record import RECORD, read_rounds

_IOU_PREFIX = "IoU."


def latest_step(run_dir: str | Path) -> int:
    """Last training step in a run's log.

    Args:
        run_dir: Work folder of the run, which may not exist yet.

    Returns:
        The step, 0 where nothing is logged yet.
    """
    return max((record["step"] for _, record in _scalars(Path(run_dir))), default=0)


def evaluations(
    run_dir: str | Path, starts: Sequence[str] | None = None
) -> dict[int, dict[str, float]]:
    """All evaluations of a run by iteration.

    Runs with rounds have them in ``rounds.json``, others in the scalars of the local visualization
    backend.

    Args:
        run_dir: Work folder of the run.
        starts: Names of the log folders of its processes; None takes every one in the folder.

    Returns:
        By iteration: the metrics in percent; those without a finite value are left out.
    """
    run_dir = Path(run_dir)
    if (run_dir / RECORD).is_file():
        found = {
            entry["iteration"]: entry["metrics"]
            for entry in _rounds(run_dir).values()
            if "metrics" in entry
        }
    else:
        found = {
            record["step"]: record
            for start, record in _scalars(run_dir)
            if "mIoU" in record and (starts is None or start in starts)
        }
    return {iteration: _finite(metrics) for iteration, metrics in found.items()}


def metrics_per_round(run_dir: str | Path, metric: str) -> dict[int, float]:
    """One metric at the end of every round.

    Args:
        run_dir: Work folder of a run with rounds.
        metric: Name such as ``mIoU``.

    Returns:
        Percentage by round; 0 is the warm-up. Rounds that were not evaluated are left out.
    """
    found = {
        number: _finite(entry.get("metrics", {}))
        for number, entry in _rounds(Path(run_dir)).items()
    }
    return {number: metrics[metric] for number, metrics in found.items() if metric in metrics}


def coverage_per_round(run_dir: str | Path) -> dict[int, float]:
    """Share of the target training pixels that have a pseudo label.

    Args:
        run_dir: Work folder of a run with rounds.

    Returns:
        Percentage by round, from 1.
    """
    return {
        number: 100 * entry["labels"]["coverage"]
        for number, entry in _rounds(Path(run_dir)).items()
        if "labels" in entry
    }


def summarize_metrics(metrics: Mapping[str, float]) -> dict[str, Any]:
    """Arrange one evaluation for the summary.

    Args:
        metrics: Percentages by name, with ``mIoU``, ``aAcc`` and ``IoU.<class>``.

    Returns:
        ``mIoU``, ``aAcc`` and ``IoU``, the IoU of every class that occurs, by class name.
    """
    return {
        "mIoU": round(metrics["mIoU"], 2),
        "aAcc": round(metrics["aAcc"], 2),
        "IoU": {
            name.removeprefix(_IOU_PREFIX): round(value, 2)
            for name, value in metrics.items()
            if name.startswith(_IOU_PREFIX)
        },
    }


def losses(run_dir: str | Path, starts: Mapping[str, int]) -> dict[str, dict[int, float]]:
    """The losses of a run, from the scalars of the local visualization backend.

    Args:
        run_dir: Work folder of the run.
        starts: Steps that were done when a process began, by the name of its log folder, oldest first.

    Returns:
        Value by step for ``loss``, the total, and for every term's losses; steps that were done again count once.
    """
    return _curves(
        run_dir,
        starts,
        lambda name: name == "loss" or name.rpartition(".")[2].startswith("loss_"),
    )


def learning_rates(run_dir: str | Path, starts: Mapping[str, int]) -> dict[int, float]:
    """The learning rate of a run, that of parameters without a factor of their own.

    Args:
        run_dir: Work folder of the run.
        starts: Steps that were done when a process began, by the name of its log folder, oldest first.

    Returns:
        Value by step.
    """
    return _curves(run_dir, starts, lambda name: name == "base_lr").get("base_lr", {})


def _curves(
    run_dir: str | Path, starts: Mapping[str, int], wanted: Callable[[str], bool]
) -> dict[str, dict[int, float]]:
    """Finite values by step of all scalars whose names are wanted."""
    curves: dict[str, dict[int, float]] = {}
    records: dict[str, list[dict[str, Any]]] = {}
    for start, record in _scalars(Path(run_dir)):
        records.setdefault(start, []).append(record)
    for start, first_step in starts.items():
        for values in curves.values():
            for step in [step for step in values if step > first_step]:
                del values[step]
        for record in records.get(start, ()):
            for name, value in record.items():
                if wanted(name) and isinstance(value, int | float) and isfinite(value):
                    curves.setdefault(name, {})[record["step"]] = value
    return {name: values for name, values in curves.items() if values}


def kept_share_per_round(run_dir: str | Path) -> dict[int, dict[str, float]]:
    """Share of the pixels predicted as a class that have a pseudo label.

    Args:
        run_dir: Work folder of a run with rounds.

    Returns:
        By round: percentage by class name.
    """
    return {
        number: {name: 100 * share for name, share in entry["labels"]["kept_share"].items()}
        for number, entry in _rounds(Path(run_dir)).items()
        if "kept_share" in entry.get("labels", {})
    }


def scores_per_round(run_dir: str | Path) -> dict[int, dict[str, float]]:
    """Scores of the model that need no label of the target, see `RoundManifest`.

    Args:
        run_dir: Work folder of a run with rounds.

    Returns:
        By round: value by name.
    """
    return {
        number: entry["labels"]["scores"]
        for number, entry in _rounds(Path(run_dir)).items()
        if entry.get("labels", {}).get("scores")
    }


def _scalars(run_dir: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Complete records of all starts of a run, oldest first, each with the name of its log folder."""
    for path in sorted(run_dir.glob("*/vis_data/scalars.json")):
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                record = json.loads(line)
            except json.JSONDecodeError:
                # The run may be writing its last line just now.
                continue
            if isinstance(record, dict) and "step" in record:
                yield path.parts[-3], record


def _rounds(run_dir: Path) -> dict[int, dict[str, Any]]:
    return {int(number): entry for number, entry in sorted(read_rounds(run_dir).items())}


def _finite(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if value is not None and isfinite(value)}
