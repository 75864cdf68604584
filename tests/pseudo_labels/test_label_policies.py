"""Policies against naive implementations on stored probabilities."""

import math

import numpy as np
import pytest
import torch
from mmseg.registry import TASK_UTILS

from mmdrsl.pseudo_labels.class_balanced_policy import ClassBalancedPolicy
from mmdrsl.pseudo_labels.label_policy import LabelPolicy, build_policy
from mmdrsl.pseudo_labels.score_histogram import ScoreHistogram

CLASSES, IGNORED, PORTION = 4, 255, 0.3


def images(seed=0, count=3):
    """Softmax-like probabilities; the last class is never the most probable one."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(count, CLASSES, 20, 30)) * 2
    logits[:, 0] += 2
    logits[:, CLASSES - 1] = -20
    exponentials = np.exp(logits)
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    return torch.from_numpy(probabilities).float()


def histogram(policy, stored, **options):
    result = ScoreHistogram(num_classes=CLASSES, **options)
    for probabilities in stored:
        result.add(*policy.scores(probabilities))
    return result


def columns(stored):
    """(image number, y, x, probabilities) of every pixel."""
    for number, probabilities in enumerate(stored):
        _, height, width = probabilities.shape
        for y in range(height):
            for x in range(width):
                yield number, y, x, probabilities[:, y, x].tolist()


def naive_lists(stored):
    """Confidence of all pixels of each predicted class, the best first."""
    lists = [[] for _ in range(CLASSES)]
    for _, _, _, column in columns(stored):
        lists[column.index(max(column))].append(max(column))
    return [sorted(values, reverse=True) for values in lists]


@TASK_UTILS.register_module()
class MarginPolicy(LabelPolicy):
    """A policy as a user writes one: the lead over the second class, above a fixed bound."""

    def __init__(self, *, margin):
        self.margin = margin

    def scores(self, probabilities):
        first, second = probabilities.topk(2, dim=0).values
        return probabilities.argmax(dim=0), first - second

    def thresholds(self, histogram):
        return torch.full((len(histogram.counts),), self.margin)


def test_a_policy_of_ones_own():
    policy = build_policy(dict(type="MarginPolicy", margin=0.5), None)
    stored = images()[:1]
    labels, confidence = policy.select(stored[0], policy.thresholds(histogram(policy, stored)))
    for _, y, x, column in columns(stored):
        second, first = sorted(column)[-2:]
        if abs(first - second - 0.5) > 1e-6:
            kept = first - second > 0.5
            assert labels[y, x] == (column.index(first) if kept else IGNORED)
        assert confidence[y, x].item() == first
    assert labels.dtype == torch.uint8
    assert policy.settings() == dict(policy="MarginPolicy", margin=0.5)
    assert policy.second_head is None


@pytest.mark.parametrize("portion", [0.05, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("num_bins", [100, 1000])
def test_thresholds_match_sorted_lists(portion, num_bins):
    stored = images()
    policy = ClassBalancedPolicy(portion=portion, lowest_threshold=1e-9, highest_threshold=1)
    found = policy.thresholds(histogram(policy, stored, num_bins=num_bins))
    lists = naive_lists(stored)
    for threshold, values in zip(found[:-1].tolist(), lists[:-1], strict=True):
        exact = values[math.ceil(portion * len(values)) - 1]
        assert exact - 1 / num_bins - 1e-6 <= threshold <= exact + 1e-6
        kept = sum(value >= threshold for value in values)
        in_bin = sum(threshold <= value < threshold + 1 / num_bins for value in values)
        assert portion * len(values) <= kept <= portion * len(values) + in_bin + 1
    assert lists[-1] == []
    assert found[-1] == 1


def test_thresholds_are_clipped():
    stored = images()

    def thresholds(**options):
        policy = ClassBalancedPolicy(**options)
        return policy.thresholds(histogram(policy, stored))

    assert (thresholds(portion=1.0, lowest_threshold=0.6)[:-1] >= 0.6).all()
    assert (thresholds(portion=1e-6, highest_threshold=0.7)[:-1] <= 0.7).all()
    assert thresholds(portion=0.5, lowest_threshold=0.6, highest_threshold=0.7)[-1] == 1


def test_certainty_falls_into_the_last_bin():
    counts = ScoreHistogram(num_classes=2, num_bins=10)
    counts.add(torch.tensor([0, 1]), torch.tensor([1.0, 0.0]))
    assert counts.counts.tolist() == [[0] * 9 + [1], [1] + [0] * 9]
    assert counts.totals().tolist() == [1, 1]


def test_order_of_images_does_not_matter():
    policy = ClassBalancedPolicy(portion=PORTION)
    stored = images()
    forward, backward = histogram(policy, stored), histogram(policy, stored.flip(0))
    assert torch.equal(forward.counts, backward.counts)
    assert forward.counts.sum() == stored[:, 0].numel()


def test_class_balanced_labels_match_naive_selection():
    stored = images(1)
    policy = ClassBalancedPolicy(portion=PORTION)
    thresholds = policy.thresholds(histogram(policy, stored))
    for probabilities in stored:
        labels, confidence = policy.select(probabilities, thresholds)
        for _, y, x, column in columns([probabilities]):
            ratios = [np.float32(p) / t for p, t in zip(column, thresholds.numpy(), strict=True)]
            best = ratios.index(max(ratios))
            assert labels[y, x] == (best if max(ratios) >= 1 else IGNORED)
            assert confidence[y, x].item() == column[best]
        again = policy.select(probabilities, thresholds)
        assert torch.equal(labels, again[0])
        assert labels.dtype == torch.uint8


def test_rare_classes_keep_their_share():
    stored = images(2, count=6)
    policy = ClassBalancedPolicy(portion=0.25, lowest_threshold=1e-9, highest_threshold=1)
    thresholds = policy.thresholds(histogram(policy, stored))
    predicted = stored.argmax(dim=1)
    labels = torch.stack([policy.select(each, thresholds)[0] for each in stored])
    totals = predicted.flatten().bincount(minlength=CLASSES)
    assert totals[0] > 2 * totals[1] > 0
    for c in range(CLASSES - 1):
        share = ((labels == c) & (predicted == c)).sum() / totals[c]
        assert share == pytest.approx(0.25, abs=0.05)
    assert (labels != CLASSES - 1).all()


def pixel(*values):
    return torch.tensor(values)[:, None, None]


def test_label_can_differ_from_the_most_probable_class():
    probabilities = pixel(0.55, 0.45, 0.0, 0.0)
    policy = ClassBalancedPolicy(portion=0.5)
    labels, confidence = policy.select(probabilities, torch.tensor([0.9, 0.4, 1.0, 1.0]))
    assert labels.item() == 1
    assert confidence.item() == pytest.approx(0.45)
    ignored, _ = policy.select(probabilities, torch.tensor([0.9, 0.5, 1.0, 1.0]))
    assert ignored.item() == IGNORED


def test_ties_go_to_the_first_class():
    probabilities = pixel(0.25, 0.25, 0.25, 0.25)
    thresholds = torch.full((4,), 0.25)
    policy = ClassBalancedPolicy(portion=0.5)
    assert policy.scores(probabilities)[0].item() == 0
    assert policy.select(probabilities, thresholds)[0].item() == 0
    # Equal scores at the threshold are kept together, whichever pixel comes first.
    policy = ClassBalancedPolicy(portion=0.1, lowest_threshold=0.01, highest_threshold=1)
    same = pixel(0.7, 0.3).expand(2, 5, 4)
    counts = ScoreHistogram(num_classes=2)
    counts.add(*policy.scores(same))
    labels, _ = policy.select(same, policy.thresholds(counts))
    assert (labels == 0).all()


@pytest.mark.parametrize(
    "options",
    [
        dict(portion=0),
        dict(portion=1.1),
        dict(portion=0.5, lowest_threshold=0),
        dict(portion=0.5, lowest_threshold=0.9, highest_threshold=0.8),
        dict(portion=0.5, second_weight=0.5),
        dict(portion=0.5, second_head="mmdl"),
        dict(portion=0.5, second_head="mmdl", second_weight=1.5),
    ],
)
def test_values_out_of_range(options):
    with pytest.raises(ValueError, match="found"):
        ClassBalancedPolicy(**options)


def test_portion_belongs_to_policies_that_take_one():
    with pytest.raises(TypeError, match="leave it out of the rounds"):
        build_policy(dict(type="MarginPolicy", margin=0.5), 0.5)
    with pytest.raises(TypeError, match="portion"):
        build_policy(None, None)
    with pytest.raises(TypeError, match="leave it out"):
        build_policy(dict(threshold=0.5), 0.5)
    assert build_policy(None, 0.5).settings()["policy"] == "ClassBalancedPolicy"


def test_other_things_are_no_policy():
    with pytest.raises(TypeError, match="is a ClassificationCost, expected a LabelPolicy"):
        build_policy(dict(type="ClassificationCost"), None)
