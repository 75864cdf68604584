"""ONNX files label images as MMSegmentation's test does."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmseg.models.segmentors import EncoderDecoder
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmdrsl.datasets.label_spaces import get_label_space
from mmdrsl.export import onnx_file
from mmdrsl.export.onnx_file import ImageToLabels, write_onnx
from mmdrsl.inference.network import Network

onnxruntime = pytest.importorskip("onnxruntime")
ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / folder) for folder in ("inference", "integration")]
from test_method_matrix import narrow  # noqa: E402
from tiny_network import SPACE, plain_model  # noqa: E402

BASE_MODELS = ROOT / "configs" / "_base_" / "models"
# One of each kind of network; the others differ in depth and width.
NETWORKS = (
    "fcn_r50", "segnet_vgg16bn", "deeplabv3plus_small", "deeplabv3plus_mobilenetv2",
    "segformer_b0", "deeplabv2_r101",
)  # fmt: skip


def tiny(*, kind="EncoderDecoder", head=None, **preprocessor):
    torch.manual_seed(0)
    cfg = dict(plain_model(), type=kind)
    cfg["decode_head"] = head or cfg["decode_head"]
    cfg["data_preprocessor"].update(preprocessor)
    model = MODELS.build(cfg).eval()
    with torch.no_grad():
        model.decode_head.conv_seg.weight.normal_(std=3)
    return Network(model=model, classes=SPACE["classes"], palette=SPACE["palette"])


def narrow_network(name):
    torch.manual_seed(0)
    cfg = Config.fromfile(BASE_MODELS / f"{name}.py")
    narrow(cfg.model.segmentor)
    space = get_label_space("synthia16")
    model = MODELS.build(dict(cfg.model, label_space="synthia16", crop_size=(64, 96)))
    take_statistics(model.segmentor)
    return Network(model=model.eval(), classes=space.classes, palette=space.palette)


@torch.no_grad()
def take_statistics(segmentor):
    """Those of noise: under the first ones a deep network without weights labels every pixel alike."""
    for module in segmentor.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.momentum = 1.0
    segmentor.train()
    segmentor.decode_head(segmentor.extract_feat(torch.randn(4, 3, 64, 96)))


def pictures(number, height, width):
    """Blue, green, red as a test loads them; no channel is like another."""
    generator = np.random.default_rng(height)
    coarse = generator.integers(0, 256, (number, -(-height // 8), -(-width // 8), 3), np.uint8)
    return coarse.repeat(8, axis=1).repeat(8, axis=2)[:, :height, :width]


def expected_labels(network, images):
    """Labels of MMSegmentation's test step."""
    inputs = [torch.from_numpy(image).permute(2, 0, 1) for image in images]
    shape = images.shape[1:3]
    samples = [SegDataSample(metainfo=dict(ori_shape=shape, img_shape=shape)) for _ in images]
    with torch.no_grad():
        found = network.model.test_step(dict(inputs=inputs, data_samples=samples))
    return np.stack([sample.pred_sem_seg.data[0].numpy() for sample in found])


def as_input(images):
    """Red, green, blue, (N, 3, H, W)."""
    return np.ascontiguousarray(images[..., ::-1].transpose(0, 3, 1, 2))


def by_onnxruntime(path, images):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    labels, logits = session.run(None, {"image": as_input(images)})
    np.testing.assert_array_equal(logits.argmax(axis=1), labels)
    assert labels.dtype == np.uint8
    return labels


def check_agreement(network, path, *sizes):
    for size in sizes:
        images = pictures(*size)
        expected = expected_labels(network, images)
        assert len(np.unique(expected)) > 1
        assert (by_onnxruntime(path, images) == expected).mean() >= 0.999


def test_any_batch_and_size(tmp_path):
    network = tiny(bgr_to_rgb=True, mean=[120.0, 60, 90], std=[50.0, 80, 60])
    written = write_onnx(network, tmp_path / "net.onnx", size=(64, 64))
    assert written.dynamic == ("batch", "height", "width")
    assert "any batch, any size" in written.describe()
    check_agreement(network, written.path, (3, 50, 75), (1, 64, 64), (2, 72, 40))
    session = onnxruntime.InferenceSession(str(written.path))
    assert json.loads(session.get_modelmeta().custom_metadata_map["classes"]) == [*SPACE["classes"]]


@pytest.mark.parametrize(
    "preprocessor",
    [
        dict(),
        dict(bgr_to_rgb=True, mean=[120.0, 60, 90], std=[50.0, 80, 60]),
        dict(mean=None, std=None),
        dict(test_cfg=dict(size_divisor=32)),
    ],
    ids=["reads blue first", "reads red first", "not normalized", "padded"],
)
def test_preprocessing_inside_is_that_of_the_test(preprocessor):
    network = tiny(**preprocessor)
    images = pictures(2, 50, 75)
    with torch.no_grad():
        labels, logits = ImageToLabels(network).eval()(torch.from_numpy(as_input(images)))
    assert logits.shape == (2, 3, 50, 75)
    np.testing.assert_array_equal(labels.numpy(), expected_labels(network, images))


def test_padding_to_one_size_is_refused():
    with pytest.raises(ValueError, match=r"pads to size=\(64, 64\).*size_divisor"):
        ImageToLabels(tiny(test_cfg=dict(size=(64, 64))))


def test_a_head_of_several_outputs(tmp_path):
    head = dict(type="DAHead", in_channels=32, channels=8, pam_channels=4, num_classes=3)
    network = tiny(head=head)
    written = write_onnx(network, tmp_path / "net.onnx", size=(64, 64))
    assert written.dynamic == ("batch", "height", "width")
    check_agreement(network, written.path, (2, 72, 40))


class Fixed(EncoderDecoder):
    """Of one image size; a pixel's label depends on the whole row."""

    def encode_decode(self, inputs, batch_img_metas):
        height, width = map(int, inputs.shape[2:])
        return inputs.reshape(-1, 3, height, width) - inputs.mean(dim=3, keepdim=True)


class Refused(Fixed):
    def encode_decode(self, inputs, batch_img_metas):
        raise NotImplementedError("no way")


class Mirrored(Fixed):
    def predict(self, inputs, data_samples=None):
        return super().predict(inputs.flip(3), data_samples)


def test_fixed_size_is_said(tmp_path):
    written = write_onnx(tiny(kind=Fixed), tmp_path / "net.onnx", size=(32, 48))
    assert written.dynamic == ("batch",)
    assert "fixed size 32 x 48 (H x W)" in written.describe()


def test_windows_stay_outside(tmp_path):
    network = tiny(kind=Fixed)
    windows = ConfigDict(mode="slide", crop_size=(16, 16), stride=(16, 16))
    network.model.test_cfg = windows
    assert write_onnx(network, tmp_path / "net.onnx", size=(32, 48)).agreement >= 0.999
    assert network.model.test_cfg is windows


def test_another_test_step_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"Mirrored cannot be written .*PyTorch agree on"):
        write_onnx(tiny(kind=Mirrored), tmp_path / "net.onnx", size=(32, 48))


def test_what_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"Refused cannot be written as ONNX.*no way"):
        write_onnx(tiny(kind=Refused), tmp_path / "net.onnx", size=(32, 48))
    assert not list(tmp_path.iterdir())


def test_disagreement_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_file, "LEAST_AGREEMENT", 1.1)
    with pytest.raises(ValueError, match=r"agree on 100.00 % of pixels"):
        write_onnx(tiny(kind=Fixed), tmp_path / "net.onnx", size=(32, 48))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_the_configs(name, tmp_path):
    network = narrow_network(name)
    written = write_onnx(network, tmp_path / "net.onnx", size=(64, 96))
    size = (96, 64) if "height" in written.dynamic else (64, 96)
    check_agreement(network, written.path, (2 if "batch" in written.dynamic else 1, *size))
