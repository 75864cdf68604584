"""The phases of a run, from the rounds of its config."""

import pytest

from mmdrsl.engine.round_schedule import Phase, build_phases

ROUND = dict(iterations=4, portion=0.2, target_share=0.5)


def test_phases_fill_the_run():
    rounds = [ROUND, dict(iterations=6, portion=0.25, target_share=1.0)]
    assert build_phases(10, rounds, 20) == [
        Phase(0, 0, 10, 0.0, None, labeled=False),
        Phase(1, 10, 14, 0.5, 0.2),
        Phase(2, 14, 20, 1.0, 0.25),
    ]


def test_online_rounds_are_not_labeled():
    assert build_phases(0, [ROUND], 4, online=True) == [Phase(1, 0, 4, 0.5, 0.2, labeled=False)]


def test_phases_without_warm_up_or_rounds():
    assert build_phases(0, [ROUND], 4) == [Phase(1, 0, 4, 0.5, 0.2)]
    assert build_phases(7, [], 7) == [Phase(0, 0, 7, 0.0, None, labeled=False)]


@pytest.mark.parametrize(
    ("warmup", "rounds", "max_iters", "message"),
    [
        (10, [ROUND], 15, r"make 14, train_cfg\.max_iters is 15.*max_iters=14"),
        (-1, [ROUND], 3, "warmup_iterations=-1"),
        (0, [dict(iterations=4)], 4, r"rounds\[0\] has keys \['iterations'\], expected"),
        (0, [ROUND, dict(ROUND, extra=1)], 8, r"rounds\[1\] has keys"),
        (0, [dict(ROUND, iterations=0)], 0, "iterations must be >= 1"),
        (0, [dict(ROUND, portion=0)], 4, "portion"),
        (0, [dict(ROUND, portion=1.1)], 4, "portion"),
        (0, [dict(ROUND, target_share=0)], 4, "target_share"),
        (0, [dict(ROUND, target_share=1.5)], 4, "target_share"),
    ],
)
def test_impossible_phases(warmup, rounds, max_iters, message):
    with pytest.raises(ValueError, match=message):
        build_phases(warmup, rounds, max_iters)
