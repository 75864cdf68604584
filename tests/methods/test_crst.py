"""MRKLD against loops over pixels and classes."""

import math
from types import SimpleNamespace

import pytest
import torch

from mmdrsl.methods.crst import ModelRegularizationTerm, divergence_from_uniform

CLASSES, IGNORED = 3, 255


def example():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, CLASSES, 2, 4, generator=generator, requires_grad=True)
    labels = torch.randint(CLASSES, (2, 2, 4), generator=generator)
    labels[0, 0] = IGNORED
    return logits, labels


def term_value(logits, labels, **options):
    step = SimpleNamespace(
        domains=dict(target=SimpleNamespace(labels=labels)),
        ignore_index=IGNORED,
        full_size_logits=lambda domain: dict(target=logits)[domain],
    )
    return ModelRegularizationTerm(**options)(step)["loss_mrkld"]


def test_divergence_against_loops():
    logits, labels = example()
    found = divergence_from_uniform(logits, labels)
    values = []
    for b in range(2):
        for y in range(2):
            for x in range(4):
                if labels[b, y, x] == IGNORED:
                    assert found[b, y, x] == 0
                    continue
                scores = logits[b, :, y, x].tolist()
                total = sum(math.exp(score) for score in scores)
                values.append(-sum(math.log(math.exp(s) / total) for s in scores) / CLASSES)
                assert found[b, y, x].item() == pytest.approx(values[-1], rel=1e-5)
    value = term_value(logits, labels, weight=0.2)
    assert value.item() == pytest.approx(0.2 * sum(values) / len(values), rel=1e-5)
    value.backward()
    valid = labels != IGNORED
    # The derivative of the mean of -log p_c is p - 1/C.
    expected = 0.2 * (logits.detach().softmax(1) - 1 / CLASSES) * valid[:, None] / valid.sum()
    torch.testing.assert_close(logits.grad, expected)


def test_nothing_labeled_is_a_connected_zero():
    logits, labels = example()
    value = term_value(logits, torch.full_like(labels, IGNORED))
    value.backward()
    assert value == 0
    assert (logits.grad == 0).all()


def test_a_uniform_prediction_has_no_gradient():
    _, labels = example()
    uniform = torch.zeros(2, CLASSES, 2, 4, requires_grad=True)
    value = term_value(uniform, labels, weight=1.0)
    value.backward()
    # The constant that is left out: the entropy of the uniform distribution.
    assert value.item() == pytest.approx(math.log(CLASSES))
    assert uniform.grad.abs().max() < 1e-7
