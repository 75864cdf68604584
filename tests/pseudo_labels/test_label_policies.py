"""Policies against naive implementations on stored probabilities."""

import math

import numpy as np
import pytest
import torch
from mmdrsl.self_training.crop_consistency_policy import CropConsistencyPolicy
from mmdrsl.self_training.entropy_policy import EntropyPolicy
from mmdrsl.self_training.fixed_confidence_policy import FixedConfidencePolicy
from mmdrsl.self_training.two_head_policy import TwoHeadPolicy

from mmdrsl.pseudo_labels.class_balanced_policy import ClassBalancedPolicy
from mmdrsl.pseudo_labels.label_policy import Prediction, build_policy
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


def predictions(seed=0, count=3):
    generator = torch.Generator().manual_seed(seed)
    return [
        Prediction(
            image,
            uncertainty=torch.rand(20, 30, generator=generator) ** 3,
            agreement=torch.randint(4, (20, 30), generator=generator) / 3,
        )
        for image in images(seed, count)
    ]


def histogram(policy, stored, **options):
    result = ScoreHistogram(num_classes=CLASSES, **options)
    for prediction in stored:
        result.add(*policy.scores(prediction))
    return result


def columns(stored):
    """(image number, y, x, probabilities) of every pixel."""
    for number, prediction in enumerate(stored):
        _, height, width = prediction.probabilities.shape
        for y in range(height):
            for x in range(width):
                yield number, y, x, prediction.probabilities[:, y, x].tolist()


def naive_entropy(column):
    return -sum(p * math.log(p) for p in column if p > 0) / math.log(len(column))


NAIVE_BADNESS = {
    "EntropyPolicy": lambda prediction, y, x, column: naive_entropy(column),
    "TwoHeadPolicy": lambda prediction, y, x, column: prediction.uncertainty[y, x].item(),
    "ClassBalancedPolicy": lambda prediction, y, x, column: -max(column),
}


def naive_lists(name, stored):
    lists = [[] for _ in range(CLASSES)]
    for number, y, x, column in columns(stored):
        badness = NAIVE_BADNESS[name](stored[number], y, x, column)
        lists[column.index(max(column))].append((badness, number, y, x))
    return [sorted(entries) for entries in lists]


@pytest.mark.parametrize("name", ["EntropyPolicy", "TwoHeadPolicy"])
@pytest.mark.parametrize("portion", [0.05, 0.3, 1.0])
def test_percentile_policies_keep_the_best_share_of_each_class(name, portion):
    stored = predictions()
    policy = build_policy(dict(type=name), portion)
    counts = histogram(policy, stored, num_bins=100_000)
    thresholds = policy.thresholds(counts)
    labels = [policy.select(prediction, thresholds)[0] for prediction in stored]
    for wanted, entries in enumerate(naive_lists(name, stored)):
        kept = math.ceil(portion * len(entries))
        found = [labels[number][y, x].item() == wanted for _, number, y, x in entries]
        # The best ones, in order; at the edge a bin of equal scores may come along.
        assert all(found[:kept])
        assert sum(found) <= kept + 2
    assert thresholds[-1] == 1
    assert all((label != CLASSES - 1).all() for label in labels)


def test_confidence_of_the_policies():
    prediction = predictions()[0]
    top = prediction.probabilities.max(dim=0).values
    thresholds = torch.full((CLASSES,), 0.5)
    for policy in (EntropyPolicy(portion=0.5), FixedConfidencePolicy()):
        assert torch.equal(policy.select(prediction, thresholds)[1], top)
    weights = TwoHeadPolicy(portion=0.5).select(prediction, thresholds)[1]
    torch.testing.assert_close(weights, torch.exp(-prediction.uncertainty))


def test_fixed_confidence():
    stored = predictions()
    policy = FixedConfidencePolicy(threshold=0.7)
    thresholds = policy.thresholds(ScoreHistogram(num_classes=CLASSES))
    assert not policy.needs_statistics
    for number, y, x, column in columns(stored[:1]):
        label = policy.select(stored[number], thresholds)[0][y, x].item()
        assert label == (column.index(max(column)) if max(column) >= np.float32(0.7) else IGNORED)


@pytest.mark.parametrize("portion", [0.05, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("num_bins", [100, 1000])
def test_thresholds_match_sorted_lists(portion, num_bins):
    stored = predictions()
    policy = ClassBalancedPolicy(portion=portion, lowest_threshold=1e-9, highest_threshold=1)
    found = policy.thresholds(histogram(policy, stored, num_bins=num_bins))
    lists = [[-entry[0] for entry in entries] for entries in naive_lists("ClassBalancedPolicy", stored)]  # fmt: skip
    for threshold, values in zip(found[:-1].tolist(), lists[:-1], strict=True):
        exact = values[math.ceil(portion * len(values)) - 1]
        assert exact - 1 / num_bins - 1e-6 <= threshold <= exact + 1e-6
        kept = sum(value >= threshold for value in values)
        in_bin = sum(threshold <= value < threshold + 1 / num_bins for value in values)
        assert portion * len(values) <= kept <= portion * len(values) + in_bin + 1
    assert lists[-1] == []
    assert found[-1] == 1


def test_thresholds_are_clipped():
    stored = predictions()

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
    stored = predictions()
    forward, backward = histogram(policy, stored), histogram(policy, stored[::-1])
    assert torch.equal(forward.counts, backward.counts)
    assert forward.counts.sum() == sum(each.probabilities[0].numel() for each in stored)


def test_class_balanced_labels_match_naive_selection():
    stored = predictions(1)
    policy = ClassBalancedPolicy(portion=PORTION)
    thresholds = policy.thresholds(histogram(policy, stored))
    for prediction in stored:
        labels, confidence = policy.select(prediction, thresholds)
        for _, y, x, column in columns([prediction]):
            ratios = [np.float32(p) / t for p, t in zip(column, thresholds.numpy(), strict=True)]
            best = ratios.index(max(ratios))
            assert labels[y, x] == (best if max(ratios) >= 1 else IGNORED)
            assert confidence[y, x].item() == column[best]
        again = policy.select(prediction, thresholds)
        assert torch.equal(labels, again[0])
        assert labels.dtype == torch.uint8


def test_rare_classes_keep_their_share():
    stored = predictions(2, count=6)
    policy = ClassBalancedPolicy(portion=0.25, lowest_threshold=1e-9, highest_threshold=1)
    thresholds = policy.thresholds(histogram(policy, stored))
    predicted = torch.stack([each.probabilities.argmax(dim=0) for each in stored])
    labels = torch.stack([policy.select(each, thresholds)[0] for each in stored])
    totals = predicted.flatten().bincount(minlength=CLASSES)
    assert totals[0] > 2 * totals[1] > 0
    for c in range(CLASSES - 1):
        share = ((labels == c) & (predicted == c)).sum() / totals[c]
        assert share == pytest.approx(0.25, abs=0.05)
    assert (labels != CLASSES - 1).all()


def column_prediction(*values):
    return Prediction(torch.tensor(values)[:, None, None])


def test_label_can_differ_from_the_most_probable_class():
    prediction = column_prediction(0.55, 0.45, 0.0, 0.0)
    policy = ClassBalancedPolicy(portion=0.5)
    labels, confidence = policy.select(prediction, torch.tensor([0.9, 0.4, 1.0, 1.0]))
    assert labels.item() == 1
    assert confidence.item() == pytest.approx(0.45)
    ignored, _ = policy.select(prediction, torch.tensor([0.9, 0.5, 1.0, 1.0]))
    assert ignored.item() == IGNORED


def test_ties_go_to_the_first_class():
    prediction = column_prediction(0.25, 0.25, 0.25, 0.25)
    thresholds = torch.full((4,), 0.25)
    for policy in (ClassBalancedPolicy(portion=0.5), FixedConfidencePolicy()):
        assert policy.scores(prediction)[0].item() == 0
        assert policy.select(prediction, thresholds)[0].item() == 0
    # Equal scores at the threshold are kept together, whichever pixel comes first.
    policy = ClassBalancedPolicy(portion=0.1, lowest_threshold=0.01, highest_threshold=1)
    same = Prediction(torch.tensor([0.7, 0.3])[:, None, None].expand(2, 5, 4))
    counts = ScoreHistogram(num_classes=2)
    counts.add(*policy.scores(same))
    labels, _ = policy.select(same, policy.thresholds(counts))
    assert (labels == 0).all()


def test_crops_must_agree():
    stored = predictions(3)
    policy = CropConsistencyPolicy(portion=PORTION, min_agreement=2 / 3)
    plain = ClassBalancedPolicy(portion=PORTION)
    thresholds = policy.thresholds(histogram(policy, stored))
    assert torch.equal(thresholds, plain.thresholds(histogram(plain, stored)))
    for prediction in stored:
        labels, wanted = (each.select(prediction, thresholds)[0] for each in (policy, plain))
        # What the crops agree on is the most probable class.
        consistent = (prediction.agreement > 0.6) & (wanted == prediction.probabilities.argmax(0))
        assert torch.equal(labels[consistent], wanted[consistent])
        assert (labels[~consistent] == IGNORED).all()
        assert (wanted[~consistent] != IGNORED).any()
    rarer = Prediction(torch.tensor([0.55, 0.45])[:, None, None], agreement=torch.ones(1, 1))
    bounds = torch.tensor([0.9, 0.4])
    assert plain.select(rarer, bounds)[0] == 1
    assert policy.select(rarer, bounds)[0] == IGNORED


def test_policies_say_what_they_lack():
    bare = Prediction(images()[0])
    with pytest.raises(ValueError, match="with crops"):
        CropConsistencyPolicy(portion=0.5).select(bare, torch.ones(CLASSES))
    with pytest.raises(ValueError, match="with an uncertainty"):
        TwoHeadPolicy(portion=0.5).scores(bare)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ClassBalancedPolicy", dict(portion=0)),
        ("ClassBalancedPolicy", dict(portion=1.1)),
        ("ClassBalancedPolicy", dict(portion=0.5, lowest_threshold=0)),
        ("ClassBalancedPolicy", dict(portion=0.5, second_weight=0.5)),
        ("ClassBalancedPolicy", dict(portion=0.5, second_head="mmdl")),
        ("ClassBalancedPolicy", dict(portion=0.5, second_head="mmdl", second_weight=1.5)),
        ("ClassBalancedPolicy", dict(portion=0.5, lowest_threshold=0.9, highest_threshold=0.8)),
        ("EntropyPolicy", dict(portion=-0.1)),
        ("TwoHeadPolicy", dict(portion=2)),
        ("FixedConfidencePolicy", dict(threshold=0)),
        ("CropConsistencyPolicy", dict(portion=0.5, num_crops=0)),
        ("CropConsistencyPolicy", dict(portion=0.5, crop_share=1.5)),
        ("CropConsistencyPolicy", dict(portion=0.5, min_agreement=0)),
    ],
)
def test_values_out_of_range(name, options):
    with pytest.raises(ValueError, match="found"):
        build_policy(dict(type=name, **options), None)


def test_portion_belongs_to_policies_that_take_one():
    with pytest.raises(TypeError, match="leave it out of the rounds"):
        build_policy(dict(type="FixedConfidencePolicy"), 0.5)
    with pytest.raises(TypeError, match="portion"):
        build_policy(dict(type="EntropyPolicy"), None)
    with pytest.raises(TypeError, match="leave it out"):
        build_policy(dict(threshold=0.5), 0.5)
    assert build_policy(None, 0.5).settings()["policy"] == "ClassBalancedPolicy"


def test_packing():
    for prediction in (predictions()[0], Prediction(images()[0])):
        both = prediction.uncertainty is not None
        again = Prediction.unpack(prediction.pack(), num_classes=CLASSES, uncertainty=both)
        assert torch.equal(again.probabilities, prediction.probabilities)
        assert (again.agreement is None) is not both
        if both:
            assert torch.equal(again.uncertainty, prediction.uncertainty)
            assert torch.equal(again.agreement, prediction.agreement)
