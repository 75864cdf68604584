"""Converted weights compute torchvision's features; files that do not fit are refused."""

import re
import runpy
import sys
from pathlib import Path

import pytest
import torch
import torchvision
from mmengine.config import Config
from mmengine.logging import HistoryBuffer
from mmseg.registry import MODELS
from torch import nn

from mmdrsl.models.backbones.segnet_encoder import SegNetEncoder
from mmdrsl.models.backbones.weight_conversion import (
    build_backbone,
    check_backbone_file,
    convert_file,
    convert_state_dict,
    read_state_dict,
)

ROOT = Path(__file__).parents[2]
WIDTH = 1 / 16


def empty_state_dict(arch):
    with torch.device("meta"):
        return torchvision.models.get_model(arch, weights=None).state_dict()


def random_torchvision(arch, **options):
    """A torchvision model with random weights and statistics and a small classifier."""
    with torch.device("meta"):
        model = torchvision.models.get_model(arch, weights=None, **options)
    name = "fc" if arch.startswith("resnet") else "classifier"
    setattr(model, name, nn.Linear(1, 1))
    model.to_empty(device="cpu")
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
            if module.bias is not None:
                nn.init.normal_(module.bias, std=0.5)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.3, 0.9)
            nn.init.normal_(module.bias, std=0.2)
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.8, 1.2)
            module.num_batches_tracked.zero_()
    return model.eval()


def layer_outputs(layers, stops, x):
    outputs = []
    for index, layer in enumerate(layers):
        x = layer(x)
        if index in stops:
            outputs.append(x)
    return outputs


def torchvision_features(model, arch, images):
    if arch == "vgg16_bn":
        return layer_outputs(model.features, (6, 13, 23, 33, 43), images)
    if arch == "mobilenet_v2":
        return layer_outputs(model.features, (3, 6, 13, 17), images)
    return layer_outputs(list(model.children())[:-2], (4, 5, 6, 7), images)


@pytest.fixture(scope="module")
def mobilenet():
    return random_torchvision("mobilenet_v2")


@pytest.mark.parametrize("arch", ["vgg16_bn", "mobilenet_v2", "resnet50"])
def test_features_equal_torchvision(arch):
    source = random_torchvision(arch)
    backbone = build_backbone(arch)
    backbone.eval()
    backbone.load_state_dict(convert_state_dict(source.state_dict(), arch), strict=True)
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        expected = torchvision_features(source, arch, images)
        features = backbone(images)[: len(expected)]
    for ours, theirs in zip(features, expected, strict=True):
        assert theirs.std() > 1e-3
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4 * float(theirs.abs().max()))


def test_dilated_config_equals_dilated_torchvision():
    dilated = [False, True, True]
    source = random_torchvision("resnet50", replace_stride_with_dilation=dilated)
    config = Config.fromfile(ROOT / "configs/_base_/models/deeplabv3plus_r50.py")
    backbone = MODELS.build(config.model.segmentor.backbone)
    backbone.eval()
    backbone.load_state_dict(convert_state_dict(source.state_dict(), "resnet50"))
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = torchvision_features(source, "resnet50", images)[-1]
        features = backbone(images)[-1]
    assert features.shape[-2:] == (8, 8)
    atol = 1e-4 * float(expected.abs().max())
    torch.testing.assert_close(features, expected, rtol=1e-3, atol=atol)


@pytest.mark.parametrize("arch", ["vgg16_bn", "mobilenet_v2", "resnet50", "resnet101"])
def test_every_key_of_the_backbone_is_filled(arch):
    converted = convert_state_dict(empty_state_dict(arch), arch)
    assert set(converted) == set(build_backbone(arch, device="meta").state_dict())


def timm_name(key):
    """Name in timm of a torchvision MobileNetV2 key."""
    if match := re.fullmatch(r"features\.(0|18)\.([01])\.(\w+)", key):
        end, layer, leaf = match.groups()
        names = {"00": "conv_stem", "01": "bn1", "180": "conv_head", "181": "bn2"}
        return f"{names[end + layer]}.{leaf}"
    if match := re.fullmatch(r"features\.(\d+)\.conv\.([\d.]+)\.(\w+)", key):
        block, layer, leaf = int(match[1]), match[2], match[3]
        starts = [1, 2, 4, 7, 11, 14, 17]
        stage = max(i for i, start in enumerate(starts) if start <= block)
        long = {"0.0": "conv_pw", "0.1": "bn1", "1.0": "conv_dw", "1.1": "bn2"}
        long |= {"2": "conv_pwl", "3": "bn3"}
        short = {"0.0": "conv_dw", "0.1": "bn1", "1": "conv_pw", "2": "bn2"}
        names = short if block == 1 else long
        return f"blocks.{stage}.{block - starts[stage]}.{names[layer]}.{leaf}"
    return key


def test_timm_names_give_the_same_weights(mobilenet):
    source = mobilenet.state_dict()
    from_timm = convert_state_dict({timm_name(k): v for k, v in source.items()}, "mobilenet_v2")
    converted = convert_state_dict(source, "mobilenet_v2")
    assert from_timm.keys() == converted.keys()
    assert all(torch.equal(from_timm[key], converted[key]) for key in converted)


@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "segmentor.backbone."])
def test_converted_weights_pass_through(mobilenet, prefix):
    converted = convert_state_dict(mobilenet.state_dict(), "mobilenet_v2")
    given = {prefix + key: weight for key, weight in converted.items()}
    if "backbone" in prefix:
        given["decode_head.conv_seg.weight"] = torch.zeros(1)
    again = convert_state_dict(given, "mobilenet_v2")
    assert all(torch.equal(again[key], converted[key]) for key in converted)


def test_source_is_left_unchanged():
    source = dict(random_torchvision("vgg16_bn").state_dict())
    before = {key: weight.clone() for key, weight in source.items()}
    convert_state_dict(source, "vgg16_bn")
    # Weights that were never set may hold NaN.
    torch.testing.assert_close(source, before, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(
    ("source", "arch", "message"),
    [
        ("resnet101", "resnet50", r"unexpected \(layer3\.6\.conv1\.weight"),
        ("vgg19_bn", "vgg16_bn", r"3 of 26 layers are missing.*torchvision.*\(features\.25, "),
        ("vgg16", "vgg16_bn", "not vgg16_bn of torchvision, timm or MMSegmentation"),
        ("resnet18", "mobilenet_v2", r"101 of 102 layers.*found the keys conv1\.weight, "),
        ("wide_resnet50_2", "resnet50", r"of another shape \(layer1.*instead of \(64, 64"),
        ("resnet50", "resnet34", "architecture is 'resnet34', expected one of vgg16_bn"),
    ],
)
def test_other_architectures_are_refused(source, arch, message):
    with pytest.raises(ValueError, match=message):
        convert_state_dict(empty_state_dict(source), arch)


def run_tool(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["convert_backbone.py", *map(str, arguments)])
    runpy.run_path(str(ROOT / "tools/model_converters/convert_backbone.py"), run_name="__main__")


def test_tool_file_feeds_init_cfg(tmp_path, monkeypatch, mobilenet):
    source, out = tmp_path / "torchvision.pth", tmp_path / "new" / "converted.pth"
    torch.save(mobilenet.state_dict(), source)
    run_tool(monkeypatch, source, "--arch", "mobilenet_v2", "--out", out, "--verify")
    content = torch.load(out, weights_only=True)
    assert content["meta"] == {
        "arch": "mobilenet_v2",
        "source": "torchvision.pth",
        "backbone": "MobileNetV2",
    }

    for name in ("deeplabv3plus_mobilenetv2", "deeplabv3plus_r50", "segnet_vgg16bn"):
        config = Config.fromfile(ROOT / f"configs/_base_/models/{name}.py")
        option = "model.segmentor.backbone.init_cfg"
        config.merge_from_dict({f"{option}.type": "Pretrained", f"{option}.checkpoint": str(out)})
        with torch.device("meta"):
            backbone = MODELS.build(config.model.segmentor.backbone)
        if name == "deeplabv3plus_mobilenetv2":
            check_backbone_file(backbone.init_cfg["checkpoint"], backbone)
            backbone.to_empty(device="cpu").init_weights()
            loaded = backbone.state_dict()
            assert all(torch.equal(loaded[k], w) for k, w in content["state_dict"].items())
        else:
            with pytest.raises(ValueError, match="does not fit"):
                check_backbone_file(backbone.init_cfg["checkpoint"], backbone)


def test_tool_reports_errors_in_one_line(tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit, match="1"):
        run_tool(monkeypatch, tmp_path / "no.pth", "--arch", "resnet50", "--out", tmp_path / "o")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"convert-backbone: no weight file {tmp_path / 'no.pth'}: nothing is")


@pytest.fixture
def encoder():
    return SegNetEncoder(width=WIDTH)


def save(tmp_path, content):
    torch.save(content, tmp_path / "weights.pth")
    return tmp_path / "weights.pth"


def test_check_accepts_what_fits(tmp_path, encoder):
    weights = encoder.state_dict()
    check_backbone_file(save(tmp_path, weights), encoder)
    check_backbone_file(save(tmp_path, {"state_dict": weights, "meta": {}}), encoder)
    check_backbone_file(save(tmp_path, weights | {"fc.weight": torch.zeros(1)}), encoder)
    check_backbone_file(save(tmp_path, {f"module.{k}": w for k, w in weights.items()}), encoder)
    old = {key: w for key, w in weights.items() if not key.endswith("num_batches_tracked")}
    check_backbone_file(save(tmp_path, old), encoder)
    name = next(name for name in weights if name.endswith("weight"))
    damaged = weights | {name: torch.full_like(weights[name], torch.nan)}
    with pytest.raises(ValueError, match="holds NaN or infinite values in 1 weights"):
        check_backbone_file(save(tmp_path, damaged), encoder)


@pytest.mark.parametrize("prefix", ["backbone", "backbone."])
def test_check_reads_runner_checkpoints_below_a_prefix(tmp_path, encoder, prefix):
    weights = {f"backbone.{key}": weight for key, weight in encoder.state_dict().items()}
    log = HistoryBuffer()
    log.update(1.0)
    path = save(tmp_path, {"state_dict": weights, "message_hub": {"log_scalars": {"loss": log}}})
    check_backbone_file(path, encoder, prefix=prefix)
    # The logs of this process stay what they are.
    assert log.statistics("mean", 1) == log.statistics("current") == 1
    with pytest.raises(ValueError, match=r"missing .*unexpected"):
        check_backbone_file(path, encoder)
    with pytest.raises(ValueError, match="below prefix 'neck' does not fit"):
        check_backbone_file(path, encoder, prefix="neck")


def test_check_names_what_does_not_fit(tmp_path, encoder):
    weights = encoder.state_dict()
    del weights["stages.0.0.conv.weight"]
    weights["stages.0.0.bn.weight"] = torch.zeros(5)
    weights["extra"] = torch.zeros(1)
    with pytest.raises(ValueError, match="does not fit SegNetEncoder") as caught:
        check_backbone_file(save(tmp_path, weights), encoder)
    message = str(caught.value)
    assert "1 missing (stages.0.0.conv.weight)" in message
    assert "1 unexpected (extra)" in message
    assert "1 of another shape (stages.0.0.bn.weight (5,) instead of (4,))" in message
    assert "convert_backbone.py" in message


def test_check_shows_five_keys_and_the_count(tmp_path, encoder):
    with pytest.raises(ValueError, match="65 missing") as caught:
        check_backbone_file(save(tmp_path, {"extra": torch.zeros(1)}), encoder)
    shown = re.search(r"65 missing \((.*?), \.\.\.\)", str(caught.value))[1]
    assert len(shown.split(", ")) == 5


def test_check_refuses_unreadable_files(tmp_path, encoder):
    with pytest.raises(FileNotFoundError, match=r"no weight file torchvision:.*convert_backbone"):
        check_backbone_file("torchvision://resnet50", encoder)
    with pytest.raises(ValueError, match="MMEngine does not read"):
        check_backbone_file(tmp_path / "weights.safetensors", encoder)
    with pytest.raises(ValueError, match="holds no tensors but the keys epoch"):
        check_backbone_file(save(tmp_path, {"epoch": 3}), encoder)
    with pytest.raises(ValueError, match="holds a list"):
        check_backbone_file(save(tmp_path, [1]), encoder)
    (tmp_path / "weights.pth").write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match="no checkpoint of tensors"):
        check_backbone_file(tmp_path / "weights.pth", encoder)


class Attack:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_reading_runs_no_code(tmp_path):
    path = save(tmp_path, {"state_dict": {}, "attack": Attack(tmp_path / "touched")})
    with pytest.raises(ValueError, match="no checkpoint of tensors"):
        read_state_dict(path)
    assert not (tmp_path / "touched").exists()


def test_safetensors_files_are_read(tmp_path, mobilenet):
    safetensors = pytest.importorskip("safetensors.torch")
    source, out = tmp_path / "weights.safetensors", tmp_path / "converted.pth"
    safetensors.save_file(mobilenet.state_dict(), source)
    convert_file(source, "mobilenet_v2", out)
    assert torch.load(out, weights_only=True)["state_dict"]


def test_missing_safetensors_names_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    (tmp_path / "weights.safetensors").touch()
    with pytest.raises(ValueError, match="pip install safetensors"):
        read_state_dict(tmp_path / "weights.safetensors")
