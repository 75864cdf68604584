import random
from types import SimpleNamespace

import numpy as np
import torch

from mmdrsl.engine.hooks.step_seed_hook import StepSeedHook


def draws_of_step(seed, iteration):
    runner = SimpleNamespace(seed=seed, iter=iteration)
    StepSeedHook().before_train_iter(runner, 0)
    return random.random(), np.random.rand(), torch.rand(1).item()


def test_step_seed_is_a_function_of_seed_and_iteration():
    first = draws_of_step(1, 5)
    torch.rand(100)
    random.random()
    assert draws_of_step(1, 5) == first
    for other in (draws_of_step(1, 6), draws_of_step(2, 5)):
        assert all(a != b for a, b in zip(first, other, strict=True))


def test_step_seed_differs_between_ranks(monkeypatch):
    first = draws_of_step(1, 5)
    monkeypatch.setattr("mmdrsl.engine.hooks.step_seed_hook.get_rank", lambda: 1)
    assert draws_of_step(1, 5) != first
