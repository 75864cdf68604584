import math

import pytest
import torch

from mmdrsl.methods.drsl import mode_statistics

CLASSES, MODES, DIM = 3, 2, 4


def case(seed):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(40, DIM, generator=generator, dtype=torch.float64)
    groups = torch.randint(CLASSES * MODES - 1, (40,), generator=generator)
    return values, groups


def test_usage_entropy():
    shares = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0], [0.9, 0.1], [0.5, 0.5]])
    labels = torch.tensor([0, 0, 1, 1, 3, 3])
    found = mode_statistics.usage_entropy(shares, labels, 4).tolist()
    assert found[0] == pytest.approx(1)
    assert found[1] == 0
    assert math.isnan(found[2])
    assert found[3] == pytest.approx(-(0.7 * math.log(0.7) + 0.3 * math.log(0.3)) / math.log(2))


def test_centroids_and_variance():
    values, groups = case(0)
    centroids = mode_statistics.group_centroids(values, groups, 6)
    variance = mode_statistics.within_variance(values, groups, 6)
    for group in range(5):
        own = [row for row, g in zip(values.tolist(), groups.tolist(), strict=True) if g == group]
        mean = [sum(column) / len(own) for column in zip(*own, strict=True)]
        assert centroids[group].tolist() == pytest.approx(mean)
        gaps = [sum((a - m) ** 2 for a, m in zip(row, mean, strict=True)) for row in own]
        assert variance[group].item() == pytest.approx(sum(gaps) / len(gaps))
    assert centroids[5].isnan().all()
    assert variance[5].isnan()


def test_centroid_gaps():
    (source, source_groups), (target, target_groups) = case(1), case(2)
    keep = target_groups != 1
    found = mode_statistics.centroid_gaps(
        source, source_groups, target[keep], target_groups[keep], (CLASSES, MODES)
    )
    for c, shared in enumerate([[0], [2, 3], [4]]):
        gaps = [
            (source[source_groups == g].mean(0) - target[target_groups == g].mean(0)).square().sum()
            for g in shared
        ]
        torch.testing.assert_close(found[c], torch.stack(gaps).mean())
    apart = mode_statistics.centroid_gaps(
        source[:1], source_groups[:1] * 0, target[:1], target_groups[:1] * 0 + 2, (CLASSES, MODES)
    )
    assert apart.isnan().all()


def test_kept_share():
    labels = torch.tensor([[0, 255, -1], [1, 1, 2]])
    predictions = torch.tensor([[0, 0, 1], [1, 0, 1]])
    found = mode_statistics.kept_share(labels, predictions, 3).tolist()
    assert found[:2] == pytest.approx([2 / 3, 2 / 3])
    assert math.isnan(found[2])
