import math

import numpy as np
import pytest
import torch
from mmseg.registry import METRICS

CLASSES = ("road", "building", "sky", "car")
IGNORED = 255


def build(**options):
    metric = METRICS.build(dict(type="ClassIoUMetric", iou_metrics=["mIoU"], **options))
    metric.dataset_meta = dict(classes=CLASSES)
    return metric


def samples(count=4, classes=4, seed=0):
    generator = np.random.default_rng(seed)
    result = []
    for index in range(count):
        label = generator.integers(classes, size=(1, 9, 11))
        wrong = generator.integers(classes, size=label.shape)
        predicted = np.where(generator.random(label.shape) < 0.6, label, wrong)
        label[:, 0] = IGNORED
        result.append(
            dict(
                img_path=f"folder/seq{index % 2}_{index:03d}.png",
                pred_sem_seg=dict(data=torch.from_numpy(predicted)),
                gt_sem_seg=dict(data=torch.from_numpy(label)),
            )
        )
    return result


def confusion(items):
    """Rows are labels, columns predictions."""
    matrix = np.zeros((len(CLASSES), len(CLASSES)), dtype=np.int64)
    for item in items:
        label, predicted = (
            item[key]["data"].numpy().ravel() for key in ("gt_sem_seg", "pred_sem_seg")
        )
        valid = label != IGNORED
        np.add.at(matrix, (label[valid], predicted[valid]), 1)
    return matrix


def class_iou(matrix):
    with np.errstate(invalid="ignore"):
        return 100 * np.diag(matrix) / (matrix.sum(0) + matrix.sum(1) - np.diag(matrix))


def evaluate(metric, items, batch_size=2):
    for start in range(0, len(items), batch_size):
        metric.process({}, items[start : start + batch_size])
    return metric.evaluate(len(items))


def test_against_a_confusion_matrix():
    items = samples()
    found = evaluate(build(), items)
    matrix = confusion(items)
    expected = class_iou(matrix)
    assert set(found) == {"aAcc", "mIoU", "mAcc", *(f"IoU.{name}" for name in CLASSES)}
    for name, value in zip(CLASSES, expected, strict=True):
        assert found[f"IoU.{name}"] == pytest.approx(value, abs=0.006)
    assert found["mIoU"] == pytest.approx(expected.mean(), abs=0.006)
    assert found["aAcc"] == pytest.approx(100 * np.trace(matrix) / matrix.sum(), abs=0.006)
    accuracy = 100 * np.diag(matrix) / matrix.sum(1)
    assert found["mAcc"] == pytest.approx(accuracy.mean(), abs=0.006)


def test_absent_class_is_nan_and_left_out():
    items = samples(classes=3)
    found = evaluate(build(), items)
    expected = class_iou(confusion(items))
    assert math.isnan(found["IoU.car"])
    assert found["mIoU"] == pytest.approx(np.nanmean(expected), abs=0.006)


def test_class_only_predicted_counts_as_zero():
    items = samples(classes=3)
    items[0]["pred_sem_seg"]["data"][0, 5, 5] = 3
    found = evaluate(build(), items)
    assert found["IoU.car"] == 0
    assert found["mIoU"] == pytest.approx(class_iou(confusion(items)).mean(), abs=0.006)


def test_groups():
    items = samples(count=5)
    found = evaluate(build(group_pattern=r"^(seq\d)_"), items, batch_size=3)
    for group in ("seq0", "seq1"):
        matrix = confusion([item for item in items if group in item["img_path"]])
        assert found[f"{group}.mIoU"] == pytest.approx(np.nanmean(class_iou(matrix)), abs=0.006)
        accuracy = 100 * np.trace(matrix) / matrix.sum()
        assert found[f"{group}.aAcc"] == pytest.approx(accuracy, abs=0.006)
    assert found["mIoU"] == evaluate(build(), items)["mIoU"]
    assert {name for name in found if name.startswith("seq")} == {
        f"seq{n}.{key}" for n in (0, 1) for key in ("mIoU", "aAcc")
    }


def test_a_second_evaluation_starts_afresh():
    metric = build()
    first = evaluate(metric, samples())
    assert evaluate(metric, samples()) == first


def test_group_pattern_errors():
    for pattern in ("seq", "(a)(b)"):
        with pytest.raises(ValueError, match="exactly one group"):
            build(group_pattern=pattern)
    with pytest.raises(ValueError, match=r"seq0_000\.png.*does not match"):
        evaluate(build(group_pattern="city(.)"), samples())


def test_format_only(tmp_path):
    metric = build(format_only=True, output_dir=str(tmp_path))
    items = [
        {key: value for key, value in item.items() if key != "gt_sem_seg"} for item in samples()
    ]
    metric.process({}, items)
    assert metric.compute_metrics(metric.results) == {}
    assert len(list(tmp_path.glob("*.png"))) == 4
