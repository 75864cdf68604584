"""Translates images with a trained generator."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.device import get_device
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmdrsl.checkpoint_weights import load_weights, weights_of
from mmdrsl.checkpoints import read_checkpoint
from mmdrsl.translation.functional import Picture
from mmdrsl.translation.tiled_generator import STRIDE, translate_in_tiles
from mmdrsl.translation.translators import Translator

GENERATOR = "generator"
"""What a manifest says of a trained translator."""
_WEIGHTS = "generators.target."


class GeneratorTranslator(Translator):
    """A generator on whole images, or on tiles where an image does not fit into memory.

    Args:
        generator: Maps red, green, blue in [-1, 1], (1, 3, H, W), to the same; normalizes each image by itself.
        tile_size: Side of the tiles in pixels, a multiple of 4; None takes whole images, and tiles of 512 pixels where
            the device runs out of memory.
    """

    needs_reference = False

    def __init__(self, generator: nn.Module, *, tile_size: int | None = None) -> None:
        self.generator = generator.eval()
        self.tile_size = tile_size
        self.device = next(generator.parameters()).device
        self._hash = _hash_of(generator)

    @property
    def settings(self) -> dict[str, Any]:
        """The weights' hash; tiles change the result by rounding alone and are left out."""
        return {"translator": GENERATOR, "weights": self._hash}

    @torch.no_grad()
    def translate(self, image: Picture, reference: Picture | None = None) -> Picture:
        """Translate an image, see `Translator.translate`."""
        height, width = image.shape[:2]
        values = torch.from_numpy(np.ascontiguousarray(image[..., ::-1])).permute(2, 0, 1)[None]
        values = values.float() / 127.5 - 1
        # The border is repeated up to a size that the generator keeps, and cut off again.
        values = F.pad(values, (0, -width % STRIDE, 0, -height % STRIDE), mode="replicate")
        result = self._generate(values)[0, :, :height, :width]
        scaled = ((result.cpu() + 1) * 127.5).round().clamp(0, 255).byte()
        return np.ascontiguousarray(scaled.permute(1, 2, 0).numpy()[..., ::-1])

    def _generate(self, values: Tensor) -> Tensor:
        if self.tile_size is None:
            try:
                return self.generator(values.to(self.device))
            except torch.OutOfMemoryError:
                torch.cuda.empty_cache()
        return translate_in_tiles(self.generator, values, self.tile_size or 512)


def load_generator(
    cfg: Config, checkpoint: str, *, tile_size: int | None = None
) -> GeneratorTranslator:
    """Build the translator of a training config, from source to target, on the device at hand.

    Args:
        cfg: Config of a `CyCADA`.
        checkpoint: Its checkpoint.
        tile_size: As for `GeneratorTranslator`.

    Returns:
        The translator.

    Raises:
        FileNotFoundError: There is no such checkpoint.
        ValueError: The config trains no translator, or the checkpoint holds no generator of it, or one of another
            shape.
    """
    if cfg.model.type != "mmagic.CyCADA":
        raise ValueError(
            "A checkpoint translates with the config that it was trained by (configs/translation/cycada_*.py), found "
            f"one whose model.type is {cfg.model.type}."
        )
    stored = weights_of(read_checkpoint(checkpoint), checkpoint)
    weights = {
        key[len(_WEIGHTS) :]: value for key, value in stored.items() if key.startswith(_WEIGHTS)
    }
    if not weights:
        raise ValueError(
            f"{checkpoint} holds no weights below {_WEIGHTS!r}; expected one of a CyCADA."
        )
    generator = MODELS.build(cfg.model.generator)
    load_weights(generator, weights, source=checkpoint)
    return GeneratorTranslator(generator.to(get_device()), tile_size=tile_size)


def _hash_of(generator: nn.Module) -> str:
    """SHA-256 over names and values of all weights."""
    digest = hashlib.sha256()
    for name, value in sorted(generator.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
