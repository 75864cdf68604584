"""``rounds.json``: what every round of a run brought."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmdrsl.atomic_files import is_number, read_json

RECORD = "rounds.json"


def read_rounds(work_dir: str | Path) -> dict[str, dict[str, Any]]:
    """Read the record of a run.

    Args:
        work_dir: Work folder of the run.

    Returns:
        Entry by number of the round, ``0`` for the warm-up; empty where there is no record.

    Raises:
        ValueError: The file is no record of rounds.
    """
    path = Path(work_dir) / RECORD
    if not path.is_file():
        return {}
    remedy = "Restore it, or remove it, and the run goes on without the metrics of earlier rounds"
    found = read_json(path, kind="record of rounds", remedy=remedy)
    for number, entry in found.items():
        if not number.isdecimal() or not _is_entry(entry):
            raise ValueError(
                f"{path} is no record of rounds (round {number!r} is {str(entry)[:60]}). {remedy}."
            )
    return found


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, dict):
        return False
    metrics, labels = entry.get("metrics", {}), entry.get("labels", {"coverage": 0})
    return (
        isinstance(entry.get("iteration", 0), int)
        and isinstance(metrics, dict)
        # The IoU of a class that does not occur is null.
        and all(value is None or is_number(value) for value in metrics.values())
        and isinstance(labels, dict)
        and is_number(labels.get("coverage"))
        and ("metrics" not in entry or "iteration" in entry)
    )
