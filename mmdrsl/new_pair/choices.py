"""Network, size, batch and schedule for a pair, by rules of thumb that say their reasons (this project's own)."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
from mmengine.config import Config

from mmdrsl.installation import configs_folder

# A crop is a multiple of this, since backbones divide their input by up to 32.
_STEP = 32
# Beginnings of the names of models on transformers, which SGD trains badly.
_TRANSFORMERS = ("segformer_", "daformer_", "hrda_", "dinov2_")
_SHORT_CPU, _SHORT_GPU = 256, 512


@dataclass(frozen=True)
class Choices:
    """What a config says that follows from sizes and machine.

    Attributes:
        model: Name of a file in ``configs/_base_/models``.
        method: Name of a file in ``configs/_base_/methods``.
        schedule: Name of a file in ``configs/_base_/schedules``.
        transformer_optimizer: Whether the optimizer is that of ``transformer_optimizer.py`` there, in place of the
            schedule's.
        scale: Width and height that images are brought to, before a random factor.
        crop: Height and width of a training image.
        batch_size: Images per step, of both domains.
        reasons: Why, by the name of the attribute.
    """

    model: str
    method: str
    schedule: str
    transformer_optimizer: bool
    scale: tuple[int, int]
    crop: tuple[int, int]
    batch_size: int
    reasons: dict[str, str]


def gpu_gigabytes() -> float | None:
    """Memory of the first GPU in GiB; None without one."""
    if not torch.cuda.is_available():
        return None
    return torch.cuda.get_device_properties(0).total_memory / 2**30


def starts_from_random_weights(model: str) -> bool:
    """Whether the backbone of a model is not given any weights by its config.

    Args:
        model: Name of a file in ``configs/_base_/models``.
    """
    cfg = Config.fromfile(configs_folder() / "_base_" / "models" / f"{model}.py")
    initial = cfg.model.segmentor.get("backbone", {}).get("init_cfg") or {}
    return initial.get("type") != "Pretrained"


def choose(
    size: tuple[int, int], *, gigabytes: float | None, model: str | None, method: str | None
) -> Choices:
    """Choose what is not given.

    Args:
        size: Width and height of the target's images.
        gigabytes: Memory of the GPU in GiB; None without one.
        model: Name of a model; None chooses one.
        method: Name of a method; None chooses DRSL.

    Returns:
        The choices.

    Raises:
        ValueError: The images are too small to be cut.
    """
    width, height = size
    short = _SHORT_CPU if gigabytes is None else _SHORT_GPU
    factor = min(1.0, short / min(width, height))
    scale = (round(width * factor), round(height * factor))
    side = min(scale) // _STEP * _STEP
    if side < 2 * _STEP:
        raise ValueError(
            f"The target's images are {width} x {height} pixels, expected at least {2 * _STEP} on each side."
        )
    smaller = gigabytes is not None and gigabytes < 10
    if smaller:
        side = min(side, 384)
    where = (
        f"a machine with {os.cpu_count()} cores and no GPU"
        if gigabytes is None
        else f"a GPU of {gigabytes:.0f} GiB"
    )
    batch = 8 if gigabytes is not None and gigabytes >= 20 else 4
    chosen_model = model or ("deeplabv3plus_small" if gigabytes is None else "deeplabv3plus_r50")
    chosen_method = method or "drsl"
    schedule = "scenes2scenes" if gigabytes is None else "full_sets"
    transformer = gigabytes is not None and chosen_model.startswith(_TRANSFORMERS)
    if gigabytes is None and chosen_method in ("drsl", "drsl_mic"):
        # The modes begin within a short warm-up.
        chosen_method += "_short"
    given = "as given" if chosen_method == method else "as given, for a short schedule"
    shrunk = "as they are" if factor == 1 else f"{1 / factor:.2g} times smaller"
    why_model = "as given" if model else f"for {where}"
    if starts_from_random_weights(chosen_model):
        why_model += (
            "; its backbone starts from random weights: convert ImageNet weights with mmdrsl convert-backbone, then "
            "set type='Pretrained' and checkpoint in model.segmentor.backbone.init_cfg"
        )
    reasons = {
        "model": why_model,
        "method": given if method else "the method of this project",
        "schedule": f"{'1,080' if gigabytes is None else '35,000'} steps, for {where}"
        + ("; AdamW of transformer_optimizer.py, for a transformer" if transformer else ""),
        "scale": f"target images of {width} x {height} are used {shrunk}: a shorter side of {min(scale)} for {where}",
        "crop": f"the largest multiple of {_STEP} that fits{' into this memory' if smaller else ''}",
        "batch_size": f"half of them target images in a round; for {where}",
    }
    return Choices(
        chosen_model, chosen_method, schedule, transformer, scale, (side, side), batch, reasons
    )
