import math

import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.models.losses import CrossEntropyLoss
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

CLASSES, IGNORED = 4, 255
WEIGHTS = [0.5, 2.0, 1.0, 3.0]


def example(seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, CLASSES, 5, 6, generator=generator, dtype=dtype, requires_grad=True)
    labels = torch.randint(CLASSES, (2, 5, 6), generator=generator)
    labels[torch.rand(2, 5, 6, generator=generator) < 0.3] = IGNORED
    return logits, labels, torch.rand(2, 5, 6, generator=generator, dtype=dtype)


def build(**options):
    return MODELS.build(dict(type="WeightedCrossEntropyLoss", **options))


def naive(logits, labels, pixel_weights, class_weight=None):
    total = divisor = 0.0
    for b in range(2):
        for y in range(5):
            for x in range(6):
                label = labels[b, y, x].item()
                if label == IGNORED:
                    continue
                scores = [math.exp(value) for value in logits[b, :, y, x].tolist()]
                share = [value / sum(scores) for value in scores]
                class_factor = class_weight[label] if class_weight else 1.0
                total -= class_factor * pixel_weights[b, y, x].item() * math.log(share[label])
                divisor += class_factor
    return total / divisor


@pytest.mark.parametrize("class_weight", [None, WEIGHTS])
def test_cross_entropy_against_loops(class_weight):
    logits, labels, weights = example()
    found = build(class_weight=class_weight, loss_weight=2.0)(logits, labels, weight=weights)
    wanted = naive(logits, labels, weights, class_weight)
    assert found.item() == pytest.approx(2 * wanted, rel=1e-5)
    plain = build(class_weight=class_weight)(logits, labels)
    factor = None if class_weight is None else torch.tensor(class_weight)
    torch.testing.assert_close(plain, F.cross_entropy(logits, labels, factor, ignore_index=IGNORED))


def test_stock_loss_takes_class_weights_without_avg_non_ignore_alone():
    """What `completion` fills class weights in for, and why it sets avg_non_ignore."""
    logits, labels, _ = example()
    with pytest.raises(IndexError):
        CrossEntropyLoss(class_weight=WEIGHTS, avg_non_ignore=True)(
            logits, labels, ignore_index=IGNORED
        )
    found = CrossEntropyLoss(class_weight=WEIGHTS)(logits, labels, ignore_index=IGNORED)
    torch.testing.assert_close(found, build(class_weight=WEIGHTS)(logits, labels))


def test_gradients_and_ignored_pixels():
    loss = build()
    logits, labels, weights = example(dtype=torch.float64)
    # Computed in float32 on purpose: compare with differences of that precision.
    loss(logits, labels, weight=weights).backward()
    assert (logits.grad.abs().sum(1)[labels == IGNORED] == 0).all()
    assert (logits.grad.abs().sum(1)[labels != IGNORED] > 0).all()
    step, place = 1e-2, (0, int(labels[0][labels[0] != IGNORED][0]), *(labels[0] != IGNORED).nonzero()[0])  # fmt: skip
    with torch.no_grad():
        up, down = logits.clone(), logits.clone()
        up[place] += step
        down[place] -= step
        slope = (loss(up, labels, weight=weights) - loss(down, labels, weight=weights)) / (2 * step)
    assert logits.grad[place].item() == pytest.approx(slope.item(), rel=0.02, abs=1e-5)


def test_nothing_labeled_is_a_connected_zero():
    logits, labels, _ = example()
    value = build()(logits, torch.full_like(labels, IGNORED))
    assert value.item() == 0
    value.backward()
    assert (logits.grad == 0).all()


def test_class_weights_follow_the_model_and_stay_out_of_checkpoints():
    loss = build(class_weight=WEIGHTS)
    assert loss.to(torch.float64).class_weight.dtype == torch.float64
    assert loss.state_dict() == {}


def test_it_serves_as_a_heads_own_loss():
    head = MODELS.build(
        dict(
            type="FCNHead", in_channels=3, channels=4, num_convs=1, num_classes=CLASSES,
            dropout_ratio=0, align_corners=False,
            loss_decode=dict(type="WeightedCrossEntropyLoss", class_weight=WEIGHTS),
        )
    )  # fmt: skip
    _, labels, _ = example()
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label[None])) for label in labels]
    features = [torch.randn(2, 3, 5, 6)]
    wanted = build(class_weight=WEIGHTS)(head.eval()(features), labels)
    torch.testing.assert_close(head.loss(features, samples, {})["loss_ce"], wanted)
