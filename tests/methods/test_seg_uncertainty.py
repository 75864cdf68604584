"""Disagreement of two classifiers and the rectified cross entropy against loops over pixels and classes."""

import math

import pytest
import torch

from mmdrsl.methods.seg_uncertainty import prediction_variance, rectified_cross_entropy

CLASSES, IGNORED = 4, 255
SHAPE = (2, CLASSES, 3, 5)


def example(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(SHAPE, generator=generator, dtype=torch.float64).requires_grad_()


def labels_of(seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (2, 3, 5), generator=generator)
    labels[torch.rand(2, 3, 5, generator=generator) < 0.3] = IGNORED
    return labels


def shares(logits, b, y, x):
    scores = [math.exp(value) for value in logits[b, :, y, x].tolist()]
    return [value / sum(scores) for value in scores]


def places():
    return [(b, y, x) for b in range(2) for y in range(3) for x in range(5)]


def test_rectified_cross_entropy_against_loops():
    p_logits, q_logits, labels = example(0), example(1), labels_of()
    rectified = variance = count = 0.0
    for b, y, x in places():
        p, q = shares(p_logits, b, y, x), shares(q_logits, b, y, x)
        divergence = sum(q[c] * (math.log(q[c]) - math.log(p[c])) for c in range(CLASSES))
        found = prediction_variance(p_logits, q_logits)[b, y, x].item()
        assert found == pytest.approx(divergence, rel=1e-4, abs=1e-6)
        label = labels[b, y, x].item()
        if label == IGNORED:
            continue
        rectified += -math.log(p[label]) * math.exp(-divergence)
        variance += divergence
        count += 1
    found = rectified_cross_entropy(p_logits, q_logits, labels)
    assert 0 < count < len(places())
    assert [value.item() for value in found] == pytest.approx(
        [rectified, variance, count], rel=1e-5
    )


def test_gradients_reach_both_classifiers_at_labeled_pixels_alone():
    p_logits, q_logits, labels = example(0), example(1), labels_of()
    rectified, variance, _ = rectified_cross_entropy(p_logits, q_logits, labels)
    (rectified + variance).backward()
    ignored = (labels == IGNORED)[:, None].expand(SHAPE)
    for logits in (p_logits, q_logits):
        assert (logits.grad[ignored] == 0).all()
        assert (logits.grad[~ignored] != 0).all()


def test_gradient_of_the_rectification_by_differences():
    p_logits, q_logits, labels = example(0), example(1), labels_of()

    def value(p, q):
        parts = rectified_cross_entropy(p, q, labels)
        return (parts[0] + parts[1]).double()

    gradients = torch.autograd.grad(value(p_logits, q_logits), (p_logits, q_logits))
    direction = [torch.randn(SHAPE, dtype=torch.float64) for _ in range(2)]
    step = 1e-3
    with torch.no_grad():
        ends = [
            value(p_logits + sign * step * direction[0], q_logits + sign * step * direction[1])
            for sign in (1, -1)
        ]
    along = sum((g * d).sum() for g, d in zip(gradients, direction, strict=True))
    assert along.item() == pytest.approx(((ends[0] - ends[1]) / (2 * step)).item(), rel=2e-2)


def test_nothing_labeled_is_a_connected_zero():
    p_logits, q_logits = example(0), example(1)
    labels = torch.full((2, 3, 5), IGNORED)
    rectified, variance, count = rectified_cross_entropy(p_logits, q_logits, labels)
    assert rectified == variance == count == 0
    (rectified + variance).backward()
    assert (p_logits.grad == 0).all()
    assert (q_logits.grad == 0).all()


def test_classifiers_that_agree_are_plain_cross_entropy():
    logits, labels = example(), labels_of()
    rectified, variance, count = rectified_cross_entropy(logits, logits.detach().clone(), labels)
    plain = torch.nn.functional.cross_entropy(logits, labels, ignore_index=IGNORED)
    assert variance.item() == pytest.approx(0, abs=1e-6)
    assert (rectified / count).item() == pytest.approx(plain.item(), rel=1e-5)
