"""The networks of a benchmark, and how a method's config takes another one."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from mmdrsl.models.feature_maps import DECODER

DEFAULT_NETWORK = "deeplabv3plus_mobilenetv2"
SCRATCH = "scratch"


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network that ``configs/_base_/models`` describes.

    Attributes:
        channels: Channels of the backbone's outputs that heads and terms may read, shallow to deep.
        decoder_channels: Channels of what the decode head's classifier reads.
        weights: Name of the ImageNet weights in the benchmark's ``weights`` folder; None where it has none.
    """

    channels: tuple[int, ...]
    decoder_channels: int
    weights: str | None = None


_RESNET = (256, 512, 1024, 2048)
_MIT = (64, 128, 320, 512)
NETWORKS = {
    DEFAULT_NETWORK: Network(
        channels=(24, 32, 96, 320), decoder_channels=128, weights="mobilenet_v2_in1k.pth"
    ),
    "deeplabv3plus_small": Network(channels=(16, 32, 64, 128), decoder_channels=64),
    "fcn_r50": Network(channels=_RESNET, decoder_channels=512),
    "segnet_vgg16bn": Network(channels=(64, 128, 256, 512, 512), decoder_channels=64),
    "deeplabv3plus_r50": Network(channels=_RESNET, decoder_channels=512),
    "deeplabv3plus_r101": Network(channels=_RESNET, decoder_channels=512),
    "deeplabv2_r101": Network(channels=_RESNET, decoder_channels=2048),
    "segformer_b0": Network(channels=(32, 64, 160, 256), decoder_channels=256),
    "segformer_b1": Network(channels=_MIT, decoder_channels=256),
    "segformer_b2": Network(channels=_MIT, decoder_channels=256),
    "segformer_b3": Network(channels=_MIT, decoder_channels=256),
    "segformer_b4": Network(channels=_MIT, decoder_channels=256),
    "segformer_b5": Network(channels=_MIT, decoder_channels=256),
}
"""Networks by name."""


def shown_network(rows: Iterable[Mapping[str, Any]]) -> str:
    """The network that pages and figures show.

    Args:
        rows: Rows of a benchmark.

    Returns:
        `DEFAULT_NETWORK` where rows have it, else the one that most have.
    """
    found = Counter(row["model"] for row in rows)
    return DEFAULT_NETWORK if DEFAULT_NETWORK in found or not found else found.most_common(1)[0][0]


def weights_of(name: str, *, data: Path, given: dict[str, str]) -> Path | None:
    """The file that a network's backbone starts from.

    Args:
        name: Key of `NETWORKS`.
        data: Folder of the benchmark.
        given: File by network, or ``scratch``, from the command line.

    Returns:
        The file; None for random weights.

    Raises:
        ValueError: The network is unknown.
        FileNotFoundError: The file is missing.
    """
    if name not in NETWORKS:
        raise ValueError(f"unknown model {name!r}: use some of {list(NETWORKS)}.")
    usual = NETWORKS[name].weights
    if (name not in given and usual is None) or given.get(name) == SCRATCH:
        return None
    path = Path(given[name]) if name in given else data / "weights" / str(usual)
    if not path.is_file():
        raise FileNotFoundError(
            f"{name} starts from {path}, which does not exist: put it there, or give --weights {name}=FILE, or "
            f"--weights {name}={SCRATCH} to train from random weights."
        )
    return path.resolve()


def use_network(
    cfg: Config, name: str, *, configs: Path, weights: Path | None, usual: str = DEFAULT_NETWORK
) -> None:
    """Put a network into the config of a method that was written for another.

    The segmentor is that of ``_base_/models/<name>.py`` with the method's number of classes and loss. Whatever reads
    features of the backbone reads those as far from its end as before, and takes their channels.

    Args:
        cfg: Config of a method, changed in place.
        name: Key of `NETWORKS`.
        configs: Folder of the configs.
        weights: Weights of the backbone; None for random ones.
        usual: Network of the config, key of `NETWORKS`.

    Raises:
        FileNotFoundError: There is no config of that network.
        ValueError: The method changes the segmentor in a way that no other network can follow.
    """
    if name != usual:
        path = configs / "_base_/models" / f"{name}.py"
        if not path.is_file():
            raise FileNotFoundError(
                f"model {name!r} has no config {path}: add it, or leave it out."
            )
        base = Config.fromfile(configs / "_base_/models" / f"{usual}.py").model
        _check_carries_over(cfg.model.segmentor, base.segmentor, usual)
        other = Config.fromfile(path).model
        segmentor = copy.deepcopy(other.segmentor)
        for key in ("num_classes", "loss_decode"):
            segmentor.decode_head[key] = cfg.model.segmentor.decode_head[key]
        cfg.model.segmentor = segmentor
        cfg.model.data_preprocessor = other.data_preprocessor
        _follow_channels(cfg.model, NETWORKS[usual].channels, NETWORKS[name])
    cfg.model.segmentor.backbone.pop("init_cfg", None)
    if weights is not None:
        cfg.model.segmentor.backbone.init_cfg = dict(type="Pretrained", checkpoint=str(weights))


def _check_carries_over(segmentor: ConfigDict, usual: ConfigDict, name: str) -> None:
    """Refuse a method whose segmentor has parts that the swap would silently drop."""
    ignored = {"num_classes", "loss_decode", "init_cfg"}
    for part in ("", "backbone", "decode_head"):
        own, base = (entry[part] if part else entry for entry in (segmentor, usual))
        skipped = ignored if part else {"backbone", "decode_head"}
        changed = sorted(key for key in {*own, *base} - skipped if own.get(key) != base.get(key))
        if changed:
            raise ValueError(
                f"The method changes model.segmentor.{part} in {changed}, which belongs to {name}: it "
                "has no other networks."
            )


def _follow_channels(model: ConfigDict, usual: tuple[int, ...], network: Network) -> None:
    """Set the indices and channels of everything outside the segmentor that reads features."""
    channels = network.channels
    shift = len(channels) - len(usual)
    extras = [model[key] for key in ("heads", "discriminators", "terms") if key in model]
    for entry in _dictionaries(extras):
        index = entry.get("in_index")
        if index == DECODER:
            entry["in_channels"] = network.decoder_channels
            continue
        if isinstance(index, int):
            # A negative index counts from the end already.
            entry["in_index"] = index if index < 0 else index + shift
        if entry.get("in_channels") in usual:
            entry["in_channels"] = channels[usual.index(entry["in_channels"]) + shift]


def _dictionaries(node: Any) -> Iterator[dict]:
    """All dictionaries below a node of a config."""
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    if isinstance(node, list | tuple):
        for child in node:
            yield from _dictionaries(child)
