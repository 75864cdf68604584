"""ImageNet weights of torchvision and timm, renamed to the keys of MMSegmentation's backbones."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmseg.models.backbones.mobilenet_v2 import MobileNetV2
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmdrsl.atomic_files import replacing
from mmdrsl.checkpoints import read_checkpoint
from mmdrsl.finite_values import non_finite_names
from mmdrsl.models.backbones.segnet_encoder import VGG16_STAGES

BACKBONES: dict[str, dict[str, Any]] = {
    "vgg16_bn": {"type": "SegNetEncoder"},
    "mobilenet_v2": {"type": "MobileNetV2"},
    "resnet50": {"type": "ResNet", "depth": 50},
    "resnet101": {"type": "ResNet", "depth": 101},
}
"""Config of the backbone that takes the weights of each torchvision architecture."""

CLASSIFIER = ("fc.", "classifier.", "head.", "pre_logits.")
CONVERTER = "tools/model_converters/convert_backbone.py SRC --arch ARCH --out FILE"
NUM_SHOWN = 5


class Layout(NamedTuple):
    """Names that one library gives to the layers of an architecture.

    Attributes:
        name: Name of the library.
        modules: Module of the backbone -> module of the library.
        classifier: Key prefixes of the layers after the backbone, which are dropped.
    """

    name: str
    modules: dict[str, str]
    classifier: tuple[str, ...]


def build_backbone(arch: str, *, device: str = "cpu") -> nn.Module:
    """Build the backbone that takes the converted weights of an architecture.

    Args:
        arch: Name of the architecture, a key of ``BACKBONES``.
        device: Device of the parameters; "meta" gives names and shapes without memory.

    Returns:
        The backbone at its default settings, randomly initialized.

    Raises:
        ValueError: If the architecture is unknown.
    """
    if arch not in BACKBONES:
        raise ValueError(f"architecture is {arch!r}, expected one of {', '.join(BACKBONES)}")
    with torch.device(device):
        return MODELS.build(BACKBONES[arch])


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint file, running no code from it.

    Args:
        path: A file of ``torch.save``, the state dict itself or below the key ``state_dict``, or
            a ``.safetensors`` file where that package is installed.

    Returns:
        The tensors by their keys, on the CPU.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is no checkpoint or holds no tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"no weight file {path}: nothing is downloaded, so fetch the torchvision or timm "
            f"checkpoint yourself and convert it with {CONVERTER}"
        )
    content: Any = (
        _read_safetensors(path) if path.suffix == ".safetensors" else read_checkpoint(path)
    )
    if isinstance(content, Mapping):
        content = content.get("state_dict", content)
    if not isinstance(content, Mapping):
        raise ValueError(f"{path} holds a {type(content).__name__}, expected a state dict")
    tensors = {key: value for key, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        raise ValueError(
            f"{path} holds no tensors but the keys {_shown(content)}, expected a state dict or "
            "one below the key state_dict; save only model.state_dict()"
        )
    return tensors


def convert_state_dict(state_dict: Mapping[str, Tensor], arch: str) -> dict[str, Tensor]:
    """Rename the weights of torchvision or timm to the keys of the backbone.

    Weights that already have the backbone's keys pass through, also below the prefixes
    ``module.``, ``segmentor.`` and ``backbone.``. The classifier is dropped. A convolution bias
    that the backbone lacks is subtracted from the running mean of the norm layer behind it, which
    gives the same function.

    Args:
        state_dict: Weights by the names of torchvision, timm or the backbone.
        arch: Name of the architecture, a key of ``BACKBONES``.

    Returns:
        Weights by the backbone's names, fit for ``load_state_dict(strict=True)``.

    Raises:
        ValueError: If the architecture is unknown, or the weights are of another one.
    """
    backbone = build_backbone(arch, device="meta")
    weights = dict(state_dict)
    for prefix in ("module.", "segmentor.", "backbone."):
        weights = weights_below(prefix, weights) or weights
    layout = _find_layout(weights, arch, backbone)
    converted = {}
    for key in backbone.state_dict():
        module, _, leaf = key.rpartition(".")
        source = f"{layout.modules[module]}.{leaf}"
        if source in weights:
            converted[key] = weights.pop(source)
    for module, source_module in layout.modules.items():
        bias = weights.pop(f"{source_module}.bias", None)
        if bias is not None:
            running_mean = f"{module.removesuffix('conv')}bn.running_mean"
            converted[running_mean] = converted[running_mean] - bias
    left = {key: weight for key, weight in weights.items() if not key.startswith(layout.classifier)}
    wrong = misfit(converted | left, backbone.state_dict())
    if wrong:
        raise ValueError(
            f"the weights, named as by {layout.name}, do not fit {arch}: {wrong}; give the "
            "architecture that they were made for"
        )
    return converted


def convert_file(source: str | Path, arch: str, out: str | Path, *, verify: bool = False) -> None:
    """Convert a checkpoint file of torchvision or timm for ``init_cfg`` of a backbone.

    The result holds ``state_dict`` and ``meta`` (architecture, name of the source file), tensors
    and plain types only, so ``torch.load(weights_only=True)`` reads it.

    Args:
        source: Checkpoint file, see ``read_state_dict``.
        arch: Name of the architecture, a key of ``BACKBONES``.
        out: File to write; its folder is made.
        verify: Also load the result strictly into the backbone before it is written.

    Raises:
        FileNotFoundError: If there is no source file.
        ValueError: If the file cannot be read or its weights are of another architecture.
    """
    state_dict = convert_state_dict(read_state_dict(source), arch)
    if verify:
        build_backbone(arch).load_state_dict(state_dict, strict=True)
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    meta = {"arch": arch, "source": Path(source).name, "backbone": BACKBONES[arch]["type"]}
    with replacing(out) as temporary:
        torch.save({"state_dict": state_dict, "meta": meta}, temporary)


def check_backbone_file(path: str | Path, backbone: nn.Module, *, prefix: str = "") -> None:
    """Refuse a weight file that does not fit, where MMEngine's loader would only warn.

    Args:
        path: File named by ``init_cfg=dict(type='Pretrained', checkpoint=...)``.
        backbone: The module that is to take the weights.
        prefix: Prefix of the backbone's keys in the file, the ``prefix`` of ``init_cfg``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If keys are missing, unexpected (other than a classifier's) or of another
            shape, or MMEngine cannot read the file.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        raise ValueError(f"MMEngine does not read {path}; convert it with {CONVERTER}")
    weights = read_state_dict(path)
    if prefix:
        weights = weights_below(f"{prefix.removesuffix('.')}.", weights)
    else:
        # MMEngine removes this prefix of data-parallel training as well.
        weights = {key.removeprefix("module."): weight for key, weight in weights.items()}
    weights = {key: weight for key, weight in weights.items() if not key.startswith(CLASSIFIER)}
    wrong = misfit(weights, backbone.state_dict())
    if wrong:
        below = f" below prefix {prefix!r}" if prefix else ""
        raise ValueError(
            f"{path}{below} does not fit {type(backbone).__name__}: {wrong}; convert torchvision "
            f"or timm weights with {CONVERTER}, or give the file of this backbone"
        )
    damaged = non_finite_names(weights)
    if damaged:
        raise ValueError(
            f"{path} holds NaN or infinite values in {len(damaged)} weights ({_shown(damaged)}): fetch it again, or "
            "give another file"
        )


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise ValueError(
            f"reading {path} needs the package safetensors; install it with pip install safetensors"
        ) from error
    return load_file(path)


def weights_below(prefix: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights below a prefix, by the rest of their names.

    Args:
        prefix: Prefix with its last dot.
        weights: Weights by name.
    """
    return {
        key.removeprefix(prefix): weight
        for key, weight in weights.items()
        if key.startswith(prefix)
    }


def _find_layout(weights: Mapping[str, Tensor], arch: str, backbone: nn.Module) -> Layout:
    own = list(dict.fromkeys(key.rpartition(".")[0] for key in backbone.state_dict()))
    layouts = [Layout("MMSegmentation", dict(zip(own, own, strict=True)), CLASSIFIER)]
    if arch == "vgg16_bn":
        names = dict(zip(own, _vgg16_bn_modules(), strict=True))
        layouts.append(Layout("torchvision or timm", names, CLASSIFIER))
    elif arch == "mobilenet_v2":
        names = dict(zip(own, _mobilenet_v2_modules(), strict=True))
        layouts.append(Layout("torchvision", names, (*CLASSIFIER, "features.18.")))
        names = dict(zip(own, _timm_mobilenet_v2_modules(), strict=True))
        layouts.append(Layout("timm", names, (*CLASSIFIER, "conv_head.", "bn2.")))
    missing, best = min(
        (
            ([name for name in layout.modules.values() if f"{name}.weight" not in weights], layout)
            for layout in layouts
        ),
        key=lambda candidate: len(candidate[0]),
    )
    if missing:
        raise ValueError(
            f"the weights are not {arch} of torchvision, timm or MMSegmentation: "
            f"{len(missing)} of {len(best.modules)} layers are missing, named as by "
            f"{best.name} ({_shown(missing)}), found the keys {_shown(weights)}; give the "
            "architecture that they were made for"
        )
    return best


def _vgg16_bn_modules() -> list[str]:
    names = []
    index = 0
    for _, num_convs in VGG16_STAGES:
        for _ in range(num_convs):
            names += [f"features.{index}", f"features.{index + 1}"]
            index += 3  # convolution, norm, ReLU
        index += 1  # pooling
    return names


def _mobilenet_v2_modules() -> list[str]:
    names = ["features.0.0", "features.0.1"]
    block = 1
    for expand_ratio, _, num_blocks in MobileNetV2.arch_settings:
        layers = ["0.0", "0.1", "1.0", "1.1", "2", "3"]
        if expand_ratio == 1:
            layers = ["0.0", "0.1", "1", "2"]
        for _ in range(num_blocks):
            names += [f"features.{block}.conv.{layer}" for layer in layers]
            block += 1
    return names


def _timm_mobilenet_v2_modules() -> list[str]:
    names = ["conv_stem", "bn1"]
    for stage, (expand_ratio, _, num_blocks) in enumerate(MobileNetV2.arch_settings):
        layers = ["conv_pw", "bn1", "conv_dw", "bn2", "conv_pwl", "bn3"]
        if expand_ratio == 1:
            layers = ["conv_dw", "bn1", "conv_pw", "bn2"]
        for block in range(num_blocks):
            names += [f"blocks.{stage}.{block}.{layer}" for layer in layers]
    return names


def misfit(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    """What keeps weights from being loaded strictly.

    Args:
        weights: Weights by name.
        expected: State of the module that is to take them.

    Returns:
        Counts and some names of missing, unexpected and differently shaped weights; empty where all fit.
    """
    # Files older than this counter lack it; PyTorch then starts it at zero.
    missing = [
        key for key in expected if key not in weights and not key.endswith("num_batches_tracked")
    ]
    unexpected = [key for key in weights if key not in expected]
    reshaped = [
        f"{key} {tuple(weights[key].shape)} instead of {tuple(expected[key].shape)}"
        for key in expected
        if key in weights and weights[key].shape != expected[key].shape
    ]
    found = {"missing": missing, "unexpected": unexpected, "of another shape": reshaped}
    return "; ".join(f"{len(keys)} {kind} ({_shown(keys)})" for kind, keys in found.items() if keys)


def _shown(keys: Any) -> str:
    keys = [str(key) for key in keys]
    return ", ".join(keys[:NUM_SHOWN]) + (", ..." if len(keys) > NUM_SHOWN else "")
