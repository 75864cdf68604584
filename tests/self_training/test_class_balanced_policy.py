import math

import numpy as np
import pytest

from mmdrsl.self_training import ConfidenceHistogram, select_labels

CLASSES, IGNORED = 4, 255


def images(seed=0, count=3):
    """Softmax-like probabilities; the last class is never the most probable one."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(count, CLASSES, 20, 30)) * 2
    logits[:, 0] += 2
    logits[:, CLASSES - 1] = -20
    exponentials = np.exp(logits)
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def histogram(probabilities, **options):
    result = ConfidenceHistogram(num_classes=CLASSES, **options)
    for image in probabilities:
        result.add(image)
    return result


def confidence_lists(probabilities):
    lists = [[] for _ in range(CLASSES)]
    for image in probabilities:
        for y in range(image.shape[1]):
            for x in range(image.shape[2]):
                column = image[:, y, x].tolist()
                lists[column.index(max(column))].append(max(column))
    return [sorted(values, reverse=True) for values in lists]


@pytest.mark.parametrize("portion", [0.05, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("num_bins", [100, 1000])
def test_thresholds_match_sorted_lists(portion, num_bins):
    probabilities = images()
    found = histogram(probabilities, num_bins=num_bins).thresholds(portion, lowest=0, highest=1)
    lists = confidence_lists(probabilities)
    for threshold, values in zip(found[:-1], lists[:-1], strict=True):
        exact = values[math.ceil(portion * len(values)) - 1]
        assert exact - 1 / num_bins <= threshold <= exact
        kept = sum(value >= threshold for value in values)
        in_bin = sum(threshold <= value < threshold + 1 / num_bins for value in values)
        assert portion * len(values) <= kept <= portion * len(values) + in_bin + 1
    assert lists[-1] == []
    assert found[-1] == 1


def test_thresholds_are_clipped():
    counts = histogram(images())
    assert (counts.thresholds(1.0, lowest=0.6)[:-1] >= 0.6).all()
    assert (counts.thresholds(1e-6, highest=0.7)[:-1] <= 0.7).all()
    assert counts.thresholds(0.5, lowest=0.6, highest=0.7)[-1] == 1


def test_certainty_falls_into_the_last_bin():
    counts = ConfidenceHistogram(num_classes=2, num_bins=10)
    counts.add(np.array([[[1.0]], [[0.0]]]))
    assert counts.counts.tolist() == [[0] * 9 + [1], [0] * 10]


@pytest.mark.parametrize("portion", [0, -0.1, 1.1])
def test_portion_out_of_range(portion):
    with pytest.raises(ValueError, match="portion must be"):
        histogram(images()).thresholds(portion)


def test_order_of_images_does_not_matter():
    probabilities = images()
    forward, backward = histogram(probabilities), histogram(probabilities[::-1])
    assert np.array_equal(forward.counts, backward.counts)
    assert forward.counts.sum() == probabilities[:, 0].size


def test_labels_match_naive_selection():
    probabilities = images(1)
    thresholds = histogram(probabilities).thresholds(0.3)
    for image in probabilities:
        labels, confidence = select_labels(image, thresholds)
        for y in range(image.shape[1]):
            for x in range(image.shape[2]):
                ratios = [image[c, y, x] / thresholds[c] for c in range(CLASSES)]
                best = ratios.index(max(ratios))
                assert labels[y, x] == (best if max(ratios) >= 1 else IGNORED)
                assert confidence[y, x] == image[best, y, x]
        again = select_labels(image, thresholds)
        assert np.array_equal(labels, again[0])
        assert labels.dtype == np.uint8


def test_rare_classes_keep_their_share():
    probabilities = images(2, count=6)
    thresholds = histogram(probabilities).thresholds(0.25, lowest=0, highest=1)
    predicted = probabilities.argmax(axis=1)
    labels = np.stack([select_labels(image, thresholds)[0] for image in probabilities])
    totals = np.bincount(predicted.ravel(), minlength=CLASSES)
    assert totals[0] > 2 * totals[1] > 0
    for c in range(CLASSES - 1):
        share = ((labels == c) & (predicted == c)).sum() / totals[c]
        assert share == pytest.approx(0.25, abs=0.05)
    assert (labels != CLASSES - 1).all()


def test_label_can_differ_from_the_most_probable_class():
    column = np.array([0.55, 0.45, 0.0, 0.0])[:, None, None]
    labels, confidence = select_labels(column, np.array([0.9, 0.4, 1.0, 1.0]))
    assert column.argmax() == 0
    assert labels.item() == 1
    assert confidence.item() == 0.45
    ignored, _ = select_labels(column, np.array([0.9, 0.5, 1.0, 1.0]))
    assert ignored.item() == IGNORED
