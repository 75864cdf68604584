import numpy as np
import pytest
from sklearn.metrics import jaccard_score

from mmdrsl.translation.audit import (
    NUM_BANDS,
    AuditedImage,
    LowLevelStatistics,
    audit_translation,
    changed_pixels,
    distance_to,
    luminance_spectrum,
)

CLASSES = ("dark", "middle", "bright")


def predict(image):
    """Class by brightness."""
    return (image[..., 0] // 86).astype(np.int64)


def images():
    rng = np.random.default_rng(0)
    for number in range(3):
        original = rng.integers(0, 256, (8, 10, 3)).astype("u1")
        translation = original.copy()
        translation[: 2 * number] = 255 - translation[: 2 * number]
        labels = rng.integers(0, 3, (8, 10)).astype("u1")
        labels[-1] = 255
        yield AuditedImage(f"image_{number}", original, translation, labels)


def test_scores_and_agreement_equal_scikit_learn():
    report = audit_translation(images(), predict=predict, classes=CLASSES)
    labels = np.concatenate([image.labels.ravel() for image in images()])
    counted = labels != 255
    predictions = {}
    for kind, attribute in (("original", "original"), ("translated", "translation")):
        found = np.concatenate([predict(getattr(image, attribute)).ravel() for image in images()])
        predictions[kind] = found
        expected = jaccard_score(labels[counted], found[counted], average=None)
        assert np.allclose(list(report[kind]["IoU"].values()), 100 * expected)
        assert report[kind]["mIoU"] == pytest.approx(100 * expected.mean())
        assert report[kind]["pixel_accuracy"] == pytest.approx(
            100 * (labels == found)[counted].mean()
        )
    same = predictions["original"] == predictions["translated"]
    assert report["agreement"] == pytest.approx(100 * same.mean())
    # More rows inverted, more changed.
    assert [entry["sample_id"] for entry in report["images"]] == ["image_2", "image_1", "image_0"]
    assert report["images"][-1]["agreement"] == 100
    assert "distance_to_target" not in report


def test_classes_that_do_not_occur_have_no_score():
    report = audit_translation(images(), predict=predict, classes=(*CLASSES, "absent"))
    assert report["original"]["IoU"]["absent"] is None
    three = [report["original"]["IoU"][name] for name in CLASSES]
    assert report["original"]["mIoU"] == pytest.approx(np.mean(three))


@pytest.mark.parametrize("cycles", [3, 9, 20])
def test_a_wave_has_its_power_in_its_band(cycles):
    columns = np.cos(2 * np.pi * cycles * np.arange(64) / 64)
    image = np.repeat((128 + 100 * columns)[None, :, None], 48, 0).repeat(3, 2).round().astype("u1")
    assert luminance_spectrum(image).argmax() == int(cycles / 64 * 2 * NUM_BANDS)


def test_statistics_of_known_colors():
    statistics = LowLevelStatistics()
    for blue, green, red in ((10, 20, 30), (30, 40, 90)):
        statistics.add(np.full((16, 16, 3), (blue, green, red), np.uint8))
    summary = statistics.summary()
    assert summary["mean"] == [60, 30, 20]
    assert summary["deviation"] == [0, 0, 0]
    other = {**summary, "mean": [61, 32, 23]}
    assert distance_to(summary, other) == {"mean": 2.0, "deviation": 0.0, "spectrum": 0.0}


def test_a_translation_that_is_the_target_has_no_distance():
    pairs = list(images())
    swapped = [AuditedImage(p.sample_id, p.original, p.translation, p.labels) for p in pairs]
    report = audit_translation(
        swapped, predict=predict, classes=CLASSES, targets=[p.translation for p in pairs]
    )
    distances = report["distance_to_target"]
    assert distances["translated"] == {"mean": 0.0, "deviation": 0.0, "spectrum": 0.0}
    assert distances["original"]["mean"] > 0


def test_changed_pixels():
    before, after = np.array([[0, 1], [2, 2]]), np.array([[0, 2], [2, 1]])
    assert changed_pixels(before, after).tolist() == [[255, 2], [255, 1]]
