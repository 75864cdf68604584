import numpy as np
import pytest
from mmengine.dataset import Compose

from mmdrsl.self_training import PseudoLabelArtefact

LABELS = np.random.default_rng(0).integers(0, 3, (24, 32)).astype(np.uint8)
# The weight of a pixel is a function of its label: geometry must not part them.
CONFIDENCE = np.array([0.2, 0.6, 1.0])[LABELS]


def load(path, *, labels=LABELS, pipeline=()):
    results = {
        "pseudo_label_path": path,
        "sample_id": "city/image_1",
        "img": np.zeros((*LABELS.shape, 3), np.uint8),
        "img_shape": LABELS.shape,
        "gt_seg_map": labels,
        "seg_fields": ["gt_seg_map"],
    }
    return Compose([dict(type="LoadPseudoLabelWeights"), *pipeline])(results)


@pytest.fixture
def path(tmp_path):
    artefact = PseudoLabelArtefact(tmp_path / "round_1")
    artefact.write_image("city/image_1", LABELS, CONFIDENCE, [[0, 0, 0]] * 3)
    return str(artefact.label_path("city/image_1"))


def test_weights_are_the_confidence_of_the_artefact(path):
    results = load(path)
    np.testing.assert_allclose(results["gt_weight_map"] / 255, CONFIDENCE, atol=1e-6)
    assert results["seg_fields"] == ["gt_seg_map", "gt_weight_map"]


def test_weights_follow_their_labels_through_geometry(path):
    geometry = [
        dict(type="RandomResize", scale=(64, 48), ratio_range=(0.7, 1.4), keep_ratio=True),
        dict(type="RandomCrop", crop_size=(16, 20)),
        dict(type="RandomFlip", prob=1.0),
        dict(type="PackWeightedSegInputs", meta_keys=()),
    ]
    sample = load(path, pipeline=geometry)["data_samples"]
    weights, labels = sample.gt_weight_map.data, sample.gt_sem_seg.data
    assert weights.shape == labels.shape == (1, 16, 20)
    assert weights.dtype.is_floating_point
    np.testing.assert_allclose(weights[0], np.array([0.2, 0.6, 1.0])[labels[0]], atol=1e-6)


def test_no_labels_yet():
    assert (load(None)["gt_weight_map"] == 255).all()


def test_source_samples_are_packed_without_weights():
    results = {"img": np.zeros((4, 4, 3), np.uint8), "gt_seg_map": np.zeros((4, 4), np.uint8)}
    packed = Compose([dict(type="PackWeightedSegInputs", meta_keys=())])(results)
    assert "gt_weight_map" not in packed["data_samples"]


def test_errors(path, tmp_path):
    with pytest.raises(ValueError, match=r"confidence.*32x24 but its label is 4x3"):
        load(path, labels=np.zeros((3, 4), np.uint8))
    with pytest.raises(FileNotFoundError, match="confidence"):
        load(str(tmp_path / "labels" / "city" / "image_1.png"))
