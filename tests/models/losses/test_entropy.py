"""Entropy losses against loops over pixels and classes."""

import math

import pytest
import torch

from mmdrsl.models.losses.entropy import mean_entropy, self_information

CLASSES = 4
SHAPE = (2, CLASSES, 3, 5)


def example():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(SHAPE, generator=generator, dtype=torch.float64).requires_grad_()


def shares(logits, b, y, x):
    scores = [math.exp(value) for value in logits[b, :, y, x].tolist()]
    return [value / sum(scores) for value in scores]


def places():
    return [(b, y, x) for b in range(2) for y in range(3) for x in range(5)]


def test_entropy_against_loops():
    logits = example()
    maps = self_information(logits)
    total = 0.0
    for b, y, x in places():
        p = shares(logits, b, y, x)
        for c in range(CLASSES):
            wanted = -p[c] * math.log2(p[c]) / math.log2(CLASSES)
            assert maps[b, c, y, x].item() == pytest.approx(wanted, rel=1e-5)
            total += wanted
    assert mean_entropy(logits).item() == pytest.approx(total / len(places()), rel=1e-5)


def test_entropy_between_certain_and_uniform():
    assert mean_entropy(torch.zeros(1, 7, 2, 2)).item() == pytest.approx(1)
    certain = torch.zeros(1, 7, 2, 2).index_fill_(1, torch.tensor([3]), 1e4).requires_grad_()
    entropy = mean_entropy(certain)
    entropy.backward()
    assert entropy == 0
    assert certain.grad.isfinite().all()
