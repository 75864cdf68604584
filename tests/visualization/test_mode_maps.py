from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmdrsl.models.feature_maps import feature_maps
from mmdrsl.visualization.mode_maps import predict_modes, source_statistics

CONFIGS = Path(__file__).parents[2] / "configs"


def test_modes_are_the_nearest_of_the_predicted_class():
    torch.manual_seed(0)
    cfg = Config.fromfile(CONFIGS / "drsl" / "deeplabv3plus_scenes2scenes.py")
    model = MODELS.build(cfg.model).eval()
    size = (32, 64)
    sample = SegDataSample(metainfo=dict(ori_shape=size, img_shape=size, pad_shape=size))
    sample.gt_sem_seg = PixelData(data=torch.zeros(1, *size, dtype=torch.long))
    image = torch.randint(0, 256, (3, *size), dtype=torch.uint8)
    classes, modes = predict_modes(model, dict(inputs=image, data_samples=sample))
    assert classes.shape == modes.shape == size
    mean, std = (
        np.array(cfg.model.data_preprocessor[key])[:, None, None] for key in ("mean", "std")
    )
    normal = torch.from_numpy((image.numpy()[::-1] - mean) / std).float()[None]
    with torch.no_grad():
        vectors = model.heads["mmdl"](feature_maps(model, normal))
    vectors = torch.nn.Upsample(size=size, mode="bilinear")(vectors)[0].numpy()
    vectors /= np.linalg.norm(vectors, axis=0, keepdims=True)
    representatives = model.heads["mmdl"].modes().detach().numpy()
    for row, column in ((0, 0), (15, 40), (31, 63), (7, 21)):
        own = representatives[classes[row, column]]
        distances = np.linalg.norm(own - vectors[:, row, column], axis=1)
        assert distances[modes[row, column]] == pytest.approx(distances.min(), abs=1e-4)


@pytest.mark.parametrize("factor", [2, 0.5])
def test_modes_of_an_image_that_the_pipeline_resizes(factor):
    torch.manual_seed(0)
    cfg = Config.fromfile(CONFIGS / "drsl" / "deeplabv3plus_scenes2scenes.py")
    model = MODELS.build(cfg.model).eval()
    size, shown = (32, 64), (round(32 / factor), round(64 / factor))
    image = torch.randint(0, 256, (3, *size), dtype=torch.uint8)
    found = []
    for original in (size, shown):
        meta = dict(ori_shape=original, img_shape=size, pad_shape=size)
        sample = SegDataSample(metainfo=meta)
        sample.gt_sem_seg = PixelData(data=torch.zeros(1, *original, dtype=torch.long))
        found.append(predict_modes(model, dict(inputs=image, data_samples=sample)))
    (classes, modes), (shown_classes, shown_modes) = found
    assert shown_classes.shape == shown_modes.shape == shown
    rows, columns = (
        ((np.arange(own) + 0.5) * whole / own).astype(int)
        for own, whole in zip(shown, size, strict=True)
    )
    # Where both say the same class, nearly all modes are the same.
    same = shown_classes == classes[np.ix_(rows, columns)]
    agree = (shown_modes == modes[np.ix_(rows, columns)])[same]
    assert same.mean() > 0.5
    assert agree.mean() > 0.8


def test_source_is_drawn_under_its_own_statistics_and_the_targets_come_back():
    torch.manual_seed(0)
    cfg = Config.fromfile(CONFIGS / "drsl" / "deeplabv3plus_scenes2scenes.py")
    model = MODELS.build(cfg.model).eval()
    images = [torch.randint(0, 90, (3, *size), dtype=torch.uint8) for size in ((32, 64), (40, 64))]
    packed = [dict(inputs=image, data_samples=SegDataSample()) for image in images]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first = next(part for part in model.segmentor.modules() if isinstance(part, torch.nn.Conv2d))
    layer = next(
        part for part in model.segmentor.modules() if isinstance(part, torch.nn.BatchNorm2d)
    )
    own = layer.running_mean.clone()
    mean, std = (
        np.array(cfg.model.data_preprocessor[key])[:, None, None] for key in ("mean", "std")
    )
    cut = np.stack([(image.numpy()[::-1, :32] - mean) / std for image in images])
    with torch.no_grad():
        expected = first(torch.from_numpy(cut).float()).mean(dim=(0, 2, 3))
    with source_statistics(model, packed):
        torch.testing.assert_close(layer.running_mean, expected, rtol=1e-4, atol=1e-5)
        assert not model.training
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    model.bn_mode = "shared"
    with source_statistics(model, packed):
        assert torch.equal(layer.running_mean, own)


def test_model_without_modes_is_refused():
    cfg = Config.fromfile(CONFIGS / "source_only" / "deeplabv3plus_scenes2scenes.py")
    with pytest.raises(ValueError, match="expected an MMDLHead named 'mmdl'"):
        predict_modes(MODELS.build(cfg.model), {})
