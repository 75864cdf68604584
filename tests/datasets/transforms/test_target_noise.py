from pathlib import Path

import numpy as np
import pytest
import torch
from mmcv.transforms import Compose
from mmengine.config import Config
from mmseg.registry import TRANSFORMS
from PIL import Image

from mmdrsl.pseudo_labels.artifact import PseudoLabelArtifact

ROOT = Path(__file__).resolve().parents[3]


def build(name, **options):
    return TRANSFORMS.build(dict(type=name, **options))


def image(seed=0, size=(40, 50)):
    return np.random.default_rng(seed).integers(256, size=(*size, 3), dtype=np.uint8)


def results(**values):
    labels = np.random.default_rng(1).integers(10, size=(40, 50), dtype=np.uint8)
    return dict(img=image(), gt_seg_map=labels, seg_fields=["gt_seg_map"], **values)


def test_blur_smooths_and_keeps_labels():
    before = results()
    after = build("RandomGaussianBlur", prob=1.0, sigma=(2.0, 2.0))(dict(before))
    assert after["img"].dtype == np.uint8
    roughness = [np.diff(each["img"].astype(int), axis=0).std() for each in (after, before)]
    assert roughness[0] < 0.3 * roughness[1]
    assert after["img"].mean() == pytest.approx(before["img"].mean(), abs=1)
    assert after["gt_seg_map"] is before["gt_seg_map"]


def test_noise_has_the_wanted_strength():
    gray = dict(img=np.full((200, 200, 3), 128, dtype=np.uint8))
    np.random.seed(0)
    after = build("RandomGaussianNoise", prob=1.0, std=(7.0, 7.0))(gray)["img"]
    assert after.astype(float).std() == pytest.approx(7, rel=0.03)
    assert after.astype(float).mean() == pytest.approx(128, abs=0.2)
    black = build("RandomGaussianNoise", prob=1.0, std=(7.0, 7.0))(dict(img=np.zeros((9, 9, 3), np.uint8)))  # fmt: skip
    assert black["img"].max() < 60


@pytest.mark.parametrize("name", ["RandomGaussianBlur", "RandomGaussianNoise"])
def test_probability_and_seed(name):
    assert np.array_equal(build(name, prob=0.0)(results())["img"], image())
    transform = build(name, prob=0.5)
    np.random.seed(0)
    changed = [not np.array_equal(transform(results())["img"], image()) for _ in range(40)]
    assert 10 < sum(changed) < 30
    np.random.seed(0)
    assert changed == [not np.array_equal(transform(results())["img"], image()) for _ in range(40)]


@pytest.mark.parametrize(
    ("name", "options"),
    [("RandomGaussianBlur", dict(prob=2)), ("RandomGaussianBlur", dict(sigma=(0, 1))),
     ("RandomGaussianNoise", dict(prob=-1)), ("RandomGaussianNoise", dict(std=(3, 1)))],
)  # fmt: skip
def test_values_out_of_range(name, options):
    with pytest.raises(ValueError, match="found"):
        build(name, **options)


@pytest.fixture
def labeled(tmp_path):
    artifact = PseudoLabelArtifact(tmp_path / "round_1")
    labels = np.random.default_rng(1).integers(10, size=(40, 50), dtype=np.uint8)
    artifact.write_image("city/a.b", labels, np.ones_like(labels), [[0, 0, 0]] * 10)
    path = tmp_path / "image.png"
    Image.fromarray(image()).save(path)
    return dict(
        img_path=str(path), pseudo_label_path=str(artifact.label_path("city/a.b")),
        sample_id="city/a.b", num_classes=10, seg_fields=[], reduce_zero_label=False, label_map=None,
    )  # fmt: skip


GEOMETRY = [
    dict(type="RandomResize", scale=(50, 40), ratio_range=(0.8, 1.5), keep_ratio=True),
    dict(type="RandomCrop", crop_size=(24, 32)),
    dict(type="RandomFlip", prob=0.5),
]


def test_noise_of_the_configs_runs(labeled):
    noise = Config.fromfile(str(ROOT / "configs/_base_/tricks.py")).target_augmentation
    pipeline = Compose(
        [dict(type="LoadImage"), dict(type="LoadPseudoLabels"), *GEOMETRY, *noise,
         dict(type="PackSegInputs", meta_keys=())]
    )  # fmt: skip
    cut = 0
    for seed in range(8):
        np.random.seed(seed)
        sample = pipeline(dict(labeled, seg_fields=[]))
        assert sample["inputs"].shape == (3, 24, 32)
        cut += int((sample["data_samples"].gt_sem_seg.data == 255).any())
        assert sample["inputs"].dtype == torch.uint8
    assert 0 < cut < 8
