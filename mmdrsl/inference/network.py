"""The network that predicts, and the names and colors of its classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmseg.registry import MODELS

from mmdrsl.checkpoint_weights import SEGMENTOR_PREFIX, load_weights, predicts, weights_of
from mmdrsl.checkpoints import read_checkpoint
from mmdrsl.inference.sliding_window import add_in_place
from mmdrsl.models.segmentors.export import class_names, exports_teacher, segmentor_weights


@dataclass(frozen=True, kw_only=True)
class Network:
    """A model that is ready to predict.

    Attributes:
        model: The config's model in evaluation mode on its device.
        classes: Names; the index is the label.
        palette: RGB color (0..255) per class.
        is_teacher: Whether it is the averaged copy of a training.
    """

    model: Any
    classes: tuple[str, ...]
    palette: tuple[tuple[int, ...], ...]
    is_teacher: bool = False

    @property
    def segmentor(self) -> Any:
        """The segmentor alone, without what adapts it."""
        return getattr(self.model, "segmentor", self.model)


def load_network(
    cfg: Config,
    checkpoint: str | Path,
    *,
    teacher: bool | None = False,
    window: dict | None = None,
    device: str = "cpu",
) -> Network:
    """Build the model of a config and load what predicts.

    Config and checkpoint may each be an adaptation's or a plain segmentor's.

    Args:
        cfg: Config of a training, or an exported one.
        checkpoint: Its checkpoint.
        teacher: Predict with the averaged copy that a training checkpoint holds; None takes the network that the
            config's test takes.
        window: ``dict(mode="slide", crop_size=(h, w), stride=(h, w))`` in pixels; None keeps the config's test_cfg.
        device: PyTorch's name of a device.

    Returns:
        The network.

    Raises:
        FileNotFoundError: There is no such checkpoint.
        TypeError: The model does not take what the config gives.
        ValueError: It does not fit the model or holds no teacher; classes are not named; there is no such device.
    """
    place = _find_device(device)
    loaded = read_checkpoint(checkpoint)
    state = weights_of(loaded, checkpoint)
    teacher = exports_teacher(cfg, state, teacher)
    if teacher or any(name.startswith(SEGMENTOR_PREFIX) for name in state):
        state = segmentor_weights(state, teacher=teacher, source=checkpoint)
    try:
        model = MODELS.build(cfg.model)
    except TypeError as error:
        raise TypeError(f"{error}: correct the config or --cfg-options.") from error
    classes, palette = class_names(cfg, loaded, num_classes=model.num_classes, source=checkpoint)
    network = Network(model=model, classes=classes, palette=palette, is_teacher=teacher)
    segmentor = network.segmentor
    if segmentor.out_channels < 2:
        raise ValueError(
            "The segmentor has one output channel, expected one for each of at least two classes."
        )
    load_weights(segmentor, state, source=checkpoint, used=predicts)
    if window is not None:
        segmentor.test_cfg = ConfigDict(window)
    add_in_place(segmentor)
    network.model.to(place).eval()
    return network


def _find_device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"There is no device {name!r} ({reason}): give cpu, or cuda:N of a GPU that PyTorch sees."
        ) from error
    return device
