"""A run's phases: the warm-up on the source, then rounds with a mixture of both domains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from mmdrsl.argument_checks import check_value

REQUIRED_KEYS = {"iterations", "target_share"}
OPTIONAL_KEYS = {"portion"}
KINDS = {"iterations": int, "target_share": float, "portion": float}


@dataclass(frozen=True)
class Phase:
    """A stretch of training with one mixture of the domains; phase 0 is the warm-up.

    Attributes:
        number: 0 for the warm-up, else the round.
        begin: First iteration.
        end: Iteration after the last.
        target_share: Share of target images in [0, 1].
        portion: Share of pixels to label per predicted class; None where the policy takes none, or nothing is labeled.
        labeled: Pseudo labels of the target images are made where the phase begins.
    """

    number: int
    begin: int
    end: int
    target_share: float
    portion: float | None
    labeled: bool = True


def build_phases(
    warmup_iterations: int, rounds: Sequence[dict], max_iters: int, *, online: bool = False
) -> list[Phase]:
    """Lay the rounds out on the iterations of a run.

    Args:
        warmup_iterations: Steps on the source before the first round; 0 starts from a loaded checkpoint.
        rounds: One dictionary per round with ``iterations`` and ``target_share``, and optionally ``portion``.
        max_iters: Length of the run.
        online: No round is labeled.

    Returns:
        The phases, warm-up first (left out where it has no steps).

    Raises:
        TypeError: A value is of another kind.
        ValueError: A round has other keys or impossible values, or the schedule does not fill the run exactly.
    """
    for number, entry in enumerate(rounds, 1):
        for name, kind in KINDS.items():
            if name in entry:
                check_value(f"SelfTrainingHook.rounds[{number - 1}].{name}", entry[name], kind)
        if not REQUIRED_KEYS <= set(entry) <= REQUIRED_KEYS | OPTIONAL_KEYS:
            raise ValueError(
                f"SelfTrainingHook.rounds[{number - 1}] has keys {sorted(entry)}, expected {sorted(REQUIRED_KEYS)} "
                f"and perhaps {sorted(OPTIONAL_KEYS)}."
            )
        if (
            entry["iterations"] < 1
            or not 0 < entry["target_share"] <= 1
            or not ("portion" not in entry or 0 < entry["portion"] <= 1)
        ):
            raise ValueError(
                f"SelfTrainingHook.rounds[{number - 1}] is {dict(entry)}; iterations must be >= 1, portion and "
                "target_share in (0, 1]."
            )
    lengths = [warmup_iterations, *(entry["iterations"] for entry in rounds)]
    if warmup_iterations < 0 or sum(lengths) != max_iters:
        raise ValueError(
            f"The round schedule does not fit: warmup_iterations={warmup_iterations} and rounds of "
            f"{lengths[1:]} iterations make {sum(lengths)}, train_cfg.max_iters is {max_iters}. Set "
            f"train_cfg.max_iters={sum(lengths)} or change the rounds."
        )
    ends = list(accumulate(lengths))
    begins = [0, *ends[:-1]]
    warmup = Phase(0, 0, warmup_iterations, target_share=0.0, portion=None, labeled=False)
    phases = [warmup] + [
        Phase(
            number,
            begins[number],
            ends[number],
            target_share=entry["target_share"],
            portion=entry.get("portion"),
            labeled=not online,
        )
        for number, entry in enumerate(rounds, 1)
    ]
    return [phase for phase in phases if phase.end > phase.begin]
