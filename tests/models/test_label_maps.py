from collections import Counter
from itertools import product

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from mmdrsl.models.label_maps import resize_labels, resize_weights, stack_confidences


def blocks(seed=0, size=(24, 40), block=(5, 3)):
    generator = torch.Generator().manual_seed(seed)
    small = torch.randint(4, (2, 8, 16), generator=generator)
    small[small == 3] = 255
    large = small.repeat_interleave(block[0], 1).repeat_interleave(block[1], 2)
    return large[:, : size[0], : size[1]]


def test_nearest_takes_the_center_of_a_cell():
    labels = blocks()
    found = resize_labels(labels, (3, 5))
    assert torch.equal(found, labels[:, 4::8, 4::8])
    assert torch.equal(resize_labels(labels, (24, 40)), labels)


@pytest.mark.parametrize("min_purity", [0.51, 0.75, 1.0])
def test_majority_or_nothing(min_purity):
    labels = blocks()
    found = resize_labels(labels, (3, 5), min_purity)
    outcomes = set()
    for b, y, x in product(range(2), range(3), range(5)):
        cell = labels[b, 8 * y : 8 * y + 8, 8 * x : 8 * x + 8].flatten().tolist()
        label, count = Counter(cell).most_common(1)[0]
        expected = label if count / 64 >= min_purity else -1
        assert found[b, y, x] == expected
        outcomes.add(expected)
    assert -1 in outcomes
    if min_purity < 0.6:
        assert outcomes > {0, 255, -1}


def test_majority_where_the_size_does_not_divide():
    labels = torch.zeros(1, 7, 9, dtype=torch.long)
    labels[:, :, 5:] = 2
    found = resize_labels(labels, (2, 3), 0.75)
    assert found[0, :, 0].tolist() == [0, 0]
    assert found[0, :, 2].tolist() == [2, 2]


@pytest.mark.parametrize("min_purity", [0.5, 0.0, 1.1])
def test_a_majority_is_more_than_half(min_purity):
    with pytest.raises(ValueError, match=r"in \(0\.5, 1\], found"):
        resize_labels(blocks(), (3, 5), min_purity)


def test_weights_follow_labels_and_padding():
    labels = blocks()
    weights = torch.rand(2, 20, 36)
    samples = []
    for label, weight in zip(labels, weights, strict=True):
        sample = SegDataSample(gt_sem_seg=PixelData(data=label[None]))
        sample.set_data(dict(gt_confidence=PixelData(data=255 * weight[None])))
        samples.append(sample)
    stacked = stack_confidences(samples, (2, 24, 40))
    torch.testing.assert_close(stacked[:, :20, :36], weights)
    assert stacked[:, 20:].sum() == stacked[:, :, 36:].sum() == 0
    assert torch.equal(resize_weights(stacked, (3, 5)), stacked[:, 4::8, 4::8])


def test_missing_weights_say_what_to_do():
    sample = SegDataSample(gt_sem_seg=PixelData(data=blocks()[:1]))
    with pytest.raises(ValueError, match="LoadPseudoLabelConfidence after LoadPseudoLabels"):
        stack_confidences([sample], (1, 24, 40))
