"""Losses of a domain discriminator against loops over its scores."""

import math

import pytest
import torch

from mmdrsl.models.losses.adversarial import domain_accuracy, domain_loss


@pytest.mark.parametrize("of_source", [True, False])
def test_domain_loss_against_loops(of_source):
    scores = torch.randn(2, 1, 3, 2, generator=torch.Generator().manual_seed(1))
    cross_entropy = squares = 0.0
    for score in scores.flatten().tolist():
        probability = 1 / (1 + math.exp(-score))
        cross_entropy -= math.log(probability if of_source else 1 - probability)
        squares += (score - of_source) ** 2
    found = domain_loss(scores, of_source=of_source).item()
    assert found == pytest.approx(cross_entropy / scores.numel(), rel=1e-5)
    found = domain_loss(scores, of_source=of_source, kind="least_squares").item()
    assert found == pytest.approx(squares / scores.numel(), rel=1e-5)


def test_share_of_right_judgments():
    source, target = torch.tensor([2.0, 0.4, -1.0, 1.0]), torch.tensor([-1.0, 0.7])
    assert domain_accuracy(source, target, "cross_entropy").item() == pytest.approx(
        (3 / 4 + 1 / 2) / 2
    )
    assert domain_accuracy(source, target, "least_squares").item() == pytest.approx(
        (2 / 4 + 1 / 2) / 2
    )
    with pytest.raises(ValueError, match="kind must be one of"):
        domain_loss(source, of_source=True, kind="wasserstein")
