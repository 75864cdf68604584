import pytest
import torch

from mmdrsl.models.losses.classifier_agreement import pool_probabilities, two_head_agreement


@pytest.mark.parametrize("second_weight", [0.0, 0.3, 1.0])
def test_pool_probabilities(second_weight):
    generator = torch.Generator().manual_seed(0)
    first, second = (
        torch.randn(4, 3, 2, generator=generator, dtype=torch.float64).softmax(0) for _ in range(2)
    )
    found = pool_probabilities(first, second, second_weight)
    for y in range(3):
        for x in range(2):
            products = [
                p ** (1 - second_weight) * q**second_weight
                for p, q in zip(first[:, y, x].tolist(), second[:, y, x].tolist(), strict=True)
            ]
            assert found[:, y, x].tolist() == pytest.approx([p / sum(products) for p in products])


def test_pool_of_impossible_classes_is_finite():
    certain = torch.tensor([1.0, 0.0, 0.0])
    pooled = pool_probabilities(certain, certain.flip(0), 0.5)
    assert pooled.isfinite().all()
    torch.testing.assert_close(pooled[0], pooled[2])


def test_two_head_agreement():
    generator = torch.Generator().manual_seed(0)
    modes, segmentation = (torch.randn(2, 4, 3, 5, generator=generator) for _ in range(2))
    agreed = two_head_agreement(modes.softmax(1), segmentation)
    assert agreed.shape == (2, 3, 5)
    for b in range(2):
        for y in range(3):
            for x in range(5):
                q, p = modes[b, :, y, x].tolist(), segmentation[b, :, y, x].tolist()
                assert agreed[b, y, x].item() == (q.index(max(q)) == p.index(max(p)))
    assert 0 < agreed.sum() < agreed.numel()
