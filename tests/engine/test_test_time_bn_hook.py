"""Statistics of target images in a test of a checkpoint, against convolutions by hand."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmseg.registry import DATASETS, MODELS
from PIL import Image

from mmdrsl.engine.bn_statistics import images_of
from mmdrsl.engine.hooks.test_time_bn_hook import TestTimeBNHook

CONFIG = "configs/source_only/deeplabv3plus_scenes2scenes.py"
LAYER = "segmentor.backbone.bn1"


@pytest.fixture
def evaluate(scenes_root, tmp_path, monkeypatch):
    monkeypatch.setenv("MMDRSL_SCENES", str(scenes_root))
    file = tmp_path / "weights.pth"

    def call(name, **hook):
        cfg = Config.fromfile(CONFIG)
        cfg.merge_from_dict(dict(work_dir=str(tmp_path / name), log_level="ERROR"))
        cfg.experiment_name = f"{tmp_path.name}_{name}"
        if hook:
            own = dict(type="TestTimeBNHook", dataset=cfg.target_dataset, **hook)
            cfg.custom_hooks = [*cfg.get("custom_hooks", ()), own]
        if file.is_file():
            cfg.load_from = str(file)
        runner = Runner.from_cfg(cfg)
        if not file.is_file():
            layer = runner.model.get_submodule(LAYER)
            layer.running_mean.uniform_(-1, 1)
            layer.running_var.uniform_(0.5, 2)
            torch.save(runner.model.state_dict(), file)
        metrics = runner.test()
        return runner.model, metrics

    return call


def statistics_by_hand(model, scenes_root, size=(128, 64)):
    """Mean and variance of the first convolution over all target images, as one batch."""
    mean, std = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
    images = [
        (cv2.resize(np.array(Image.open(path).convert("RGB")), size) - mean) / std
        for path in sorted((scenes_root / "camera/leftImg8bit/train").rglob("*.png"))
    ]
    assert len(images) == 3
    inputs = torch.from_numpy(np.stack(images)).movedim(-1, 1).float()
    with torch.no_grad():
        values = model.segmentor.backbone.conv1(inputs)
    return values.mean(dim=(0, 2, 3)), values.var(dim=(0, 2, 3))


def test_statistics_are_mixed_and_nothing_else_changes(evaluate, scenes_root):
    model, usual = evaluate("usual")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    mixed, metrics = evaluate("mixed", target_weight=0.25)
    own_mean, own_variance = statistics_by_hand(model, scenes_root)
    mean, variance = (before[f"{LAYER}.running_{name}"] for name in ("mean", "var"))
    found = mixed.get_submodule(LAYER)
    torch.testing.assert_close(
        found.running_mean, 0.75 * mean + 0.25 * own_mean, atol=1e-4, rtol=1e-4
    )
    between = 0.25 * 0.75 * (mean - own_mean) ** 2
    expected = 0.75 * variance + 0.25 * own_variance + between
    torch.testing.assert_close(found.running_var, expected, atol=1e-4, rtol=1e-4)
    for name, value in mixed.named_parameters():
        assert torch.equal(value, before[name])
    assert not any(module.training for module in mixed.modules())
    assert metrics != usual
    # The heads of the network have their layers moved, too.
    layers = [name for name in before if name.endswith("running_mean")]
    after = mixed.state_dict()
    assert not any(torch.equal(before[name], after[name]) for name in layers)


def test_statistics_of_images_as_they_are_labeled(evaluate, scenes_root):
    evaluate("usual")
    pipeline = [
        dict(type="LoadImage"),
        dict(type="Resize", scale=(64, 32), keep_ratio=True),
        dict(type="PackSegInputs", meta_keys=("img_path", "ori_shape", "img_shape")),
    ]
    mixed, _ = evaluate("small", target_weight=1.0, pipeline=pipeline)
    found = mixed.get_submodule(LAYER).running_mean
    expected, _ = statistics_by_hand(mixed, scenes_root, size=(64, 32))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    whole, _ = statistics_by_hand(mixed, scenes_root)
    assert not torch.allclose(found, whole, atol=1e-3)


@pytest.mark.parametrize(
    ("number", "batch_size", "expected"),
    [(9, 8, [5, 4]), (16, 8, [8, 8]), (3, 2, [3]), (5, 2, [3, 2]), (1, 8, [1]), (3, 1, [1, 1, 1])],
)
def test_no_image_is_left_over_alone(evaluate, scenes_root, number, batch_size, expected):
    model, _ = evaluate("usual")
    target = DATASETS.build(Config.fromfile(CONFIG).target_dataset)
    numbers = [index % len(target) for index in range(number)]
    batches = list(images_of(model, target, numbers, batch_size=batch_size))
    assert [len(batch) for batch in batches] == expected
    singles = list(images_of(model, target, numbers))
    assert torch.equal(torch.cat(batches), torch.cat(singles))


def test_statistics_of_three_images_in_batches_of_two(evaluate, scenes_root):
    # ASPP normalizes one value per channel and image.
    _, usual = evaluate("usual")
    mixed, metrics = evaluate("pairs", target_weight=1.0, batch_size=2)
    own_mean, _ = statistics_by_hand(mixed, scenes_root)
    found = mixed.get_submodule(LAYER).running_mean
    torch.testing.assert_close(found, own_mean, atol=1e-4, rtol=1e-4)
    assert metrics != usual


def test_views_of_a_test_take_the_statistics_of_their_network(evaluate, scenes_root):
    model, _ = evaluate("usual")
    views = MODELS.build(dict(type="SegTTAModel", module=model))
    hook = TestTimeBNHook(dataset=Config.fromfile(CONFIG).target_dataset, target_weight=1.0)
    before = model.get_submodule(LAYER).running_mean.clone()
    hook.before_test(SimpleNamespace(model=views))
    found = model.get_submodule(LAYER).running_mean
    assert not torch.equal(found, before)
    torch.testing.assert_close(
        found, statistics_by_hand(model, scenes_root)[0], atol=1e-4, rtol=1e-4
    )


def test_other_models_are_refused(evaluate):
    model, _ = evaluate("usual")

    class Other:
        pass

    other = Other()
    other.model = model.segmentor
    hook = TestTimeBNHook(dataset={})
    with pytest.raises(TypeError, match="needs a UDASegmentor as model, found EncoderDecoder"):
        hook.before_test(other)


def test_impossible_weight():
    with pytest.raises(ValueError, match=r"target_weight must be in \(0, 1\], found 2"):
        TestTimeBNHook(dataset={}, target_weight=2)
