"""Every base model of the configs runs, and says neither classes nor what its label space decides."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS

BASE_MODELS = Path(__file__).parents[2] / "configs" / "_base_" / "models"
NAMES = sorted(path.stem for path in BASE_MODELS.glob("*.py") if path.stem != "adaptor")
FAST = ("deeplabv3plus_small", "segformer_b0", "segnet_vgg16bn")


def build(name):
    model = Config.fromfile(BASE_MODELS / f"{name}.py").model
    return MODELS.build(dict(model, label_space="synthia16", crop_size=(64, 96)))


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in NAMES],
)
def test_base_models_run(name):
    model = build(name).eval()
    with torch.no_grad():
        logits = model.encode_decode(torch.randn(1, 3, 64, 96), [dict(img_shape=(64, 96))])
    assert logits.shape == (1, 16, 64, 96)
    assert model.decode_head.loss_decode.avg_non_ignore


def test_small_model_is_small():
    model = build("deeplabv3plus_small")
    assert sum(parameter.numel() for parameter in model.parameters()) < 1_000_000
