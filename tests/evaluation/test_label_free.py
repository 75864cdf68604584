import math

import numpy as np
import pytest
import torch

from mmdrsl.evaluation.label_free import agreement, information, mean_ranks
from mmdrsl.pseudo_labels.domain_scores import mean_entropy


def test_information_by_a_loop():
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.randn(4, 5, 6, generator=generator).mul(3).softmax(dim=0)
    pixels = probabilities.flatten(1).t().tolist()
    entropies = [-sum(p * math.log(p) for p in pixel) for pixel in pixels]
    mean = [sum(pixel[c] for pixel in pixels) / len(pixels) for c in range(4)]
    expected = -sum(p * math.log(p) for p in mean) - sum(entropies) / len(entropies)
    found = information(probabilities.flatten(1).mean(dim=1), mean_entropy(probabilities))
    assert found == pytest.approx(expected / math.log(4), rel=1e-4)


def test_information_of_one_prediction_everywhere_and_of_all_classes():
    same = torch.tensor([0.9, 0.1])
    assert information(same, mean_entropy(same[:, None, None])) == pytest.approx(0, abs=1e-6)
    assert information(torch.tensor([0.5, 0.5]), 0.0) == pytest.approx(1)


def test_agreement():
    first = torch.eye(3)[:, :, None]
    second = first.roll(1, dims=0)
    assert agreement(first, first * 7) == 1
    assert agreement(first, second) == 0


def test_mean_ranks():
    scores = [dict(a=3.0, b=0.1), dict(a=2.0, b=0.3, c=9.0), dict(a=1.0, b=0.2)]
    assert mean_ranks(scores) == pytest.approx([2.0, 1.5, 2.5])
    assert np.isclose(mean_ranks([dict(a=1.0), dict(a=1.0)]), 1.5).all()
    with pytest.raises(ValueError, match="no score is known of all 2"):
        mean_ranks([dict(a=1.0), dict(b=1.0)])
