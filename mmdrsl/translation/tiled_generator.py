"""A generator on overlapping tiles with the instance statistics of the whole image.

All tiles pass layer by layer: at each instance normalization, mean and variance are taken over the tiles' cores, which
partition the image, and every tile is normalized by them. The margins around the cores cover the generator's receptive
field, so the result is that of one pass over the whole image, up to rounding. One tile at a time is on the device.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmcv.cnn import ConvModule
from torch import Tensor, nn

from mmdrsl.translation.resize_convolution import ResizeConv2d

STRIDE = 4
"""Sides of images, tiles and margins are multiples of this: the generator halves them twice."""


@dataclass
class Tile:
    """A tile on its way through the generator.

    Attributes:
        values: Activations, (1, C, h, w), on the CPU.
        outer: Top, left, height and width of the tile in the image, in pixels.
        core: The same of the part that it answers for.
    """

    values: Tensor
    outer: tuple[int, int, int, int]
    core: tuple[int, int, int, int]

    def of_core(self) -> Tensor:
        """Activations of the core, (1, C, h', w')."""
        top, left, height, width = (
            value * self.values.shape[2] // self.outer[2]
            for value in (
                self.core[0] - self.outer[0],
                self.core[1] - self.outer[1],
                self.core[2],
                self.core[3],
            )
        )
        return self.values[..., top : top + height, left : left + width]


@torch.no_grad()
def translate_in_tiles(generator: nn.Module, image: Tensor, tile_size: int) -> Tensor:
    """Run a generator on an image in tiles.

    Args:
        generator: An MMagic ``ResnetGenerator`` with instance normalization, or a `ShortcutGenerator`.
        image: Shape (1, 3, H, W), H and W multiples of 4; may be on the CPU while the generator is not.
        tile_size: Side of the tiles' cores in pixels, a positive multiple of 4.

    Returns:
        The generator's output, (1, 3, H, W), on the CPU.

    Raises:
        TypeError: The generator is built of other layers.
        ValueError: A size is no multiple of 4.
    """
    if tile_size <= 0 or any(side % STRIDE for side in (tile_size, *image.shape[2:])):
        raise ValueError(
            f"Sides of image and tile must be multiples of {STRIDE}, found {tuple(image.shape[2:])} and {tile_size}."
        )
    margin = -(-receptive_radius(generator) // STRIDE) * STRIDE
    tiles = list(_split(image.cpu(), tile_size, margin))
    device = next(generator.parameters()).device
    for layer in _layers(generator):
        if isinstance(layer, ConvModule):
            _run(layer, tiles, device)
        else:
            before = [tile.values for tile in tiles]
            for inner in layer.block:
                _run(inner, tiles, device)
            for tile, values in zip(tiles, before, strict=True):
                tile.values = values + tile.values
    result = torch.empty_like(image, device="cpu")
    for tile in tiles:
        top, left, height, width = tile.core
        result[..., top : top + height, left : left + width] = tile.of_core()
    return image.cpu() + result if getattr(generator, "adds_image", False) else result


def receptive_radius(generator: nn.Module) -> int:
    """How far, in pixels, an output pixel of the generator sees beyond its own place, statistics aside.

    Args:
        generator: An MMagic ``ResnetGenerator``, or a `ShortcutGenerator`.

    Returns:
        The radius.

    Raises:
        TypeError: The generator is built of other layers.
    """
    radius, step = 0.0, 1.0
    for layer in _layers(generator):
        for part in [layer] if isinstance(layer, ConvModule) else layer.block:
            conv: Any = part.conv
            if isinstance(conv, nn.ConvTranspose2d | ResizeConv2d):
                radius += step
                step /= 2
            else:
                radius += conv.kernel_size[0] // 2 * step
                step *= conv.stride[0]
    return int(radius)


def _layers(generator: nn.Module) -> Sequence[Any]:
    layers = list(getattr(generator, "model", ()))
    parts = [
        part
        for layer in layers
        for part in ([layer] if isinstance(layer, ConvModule) else getattr(layer, "block", [None]))
    ]
    fitting = all(
        isinstance(part, ConvModule)
        and (not part.with_norm or isinstance(part.norm, nn.InstanceNorm2d))
        for part in parts
    )
    if not parts or not fitting:
        raise TypeError(
            "Tiles need an MMagic ResnetGenerator with instance normalization and without dropout, found "
            f"{type(generator).__name__}; translate whole images instead."
        )
    return layers


def _split(image: Tensor, tile_size: int, margin: int) -> Iterator[Tile]:
    height, width = image.shape[2:]
    for top in range(0, height, tile_size):
        for left in range(0, width, tile_size):
            bottom, right = min(top + tile_size, height), min(left + tile_size, width)
            first_row, first_column = max(top - margin, 0), max(left - margin, 0)
            last_row, last_column = min(bottom + margin, height), min(right + margin, width)
            yield Tile(
                values=image[..., first_row:last_row, first_column:last_column],
                outer=(first_row, first_column, last_row - first_row, last_column - first_column),
                core=(top, left, bottom - top, right - left),
            )


def _run(layer: ConvModule, tiles: list[Tile], device: torch.device) -> None:
    """One convolution with its normalization and activation, on all tiles."""
    for tile in tiles:
        values = tile.values.to(device)
        if layer.with_explicit_padding:
            values = layer.padding_layer(values)
        tile.values = layer.conv(values).cpu()
    statistics = _statistics(tiles) if layer.with_norm else None
    for tile in tiles:
        values = tile.values.to(device)
        if statistics is not None:
            values = _normalize(layer.norm, values, *(value.to(device) for value in statistics))
        tile.values = (layer.activate(values) if layer.with_activation else values).cpu()


def _statistics(tiles: Sequence[Tile]) -> tuple[Tensor, Tensor]:
    """Mean and biased variance per channel over the whole image, (C,) each."""
    cores = [tile.of_core() for tile in tiles]
    count = sum(core[0, 0].numel() for core in cores)
    totals = torch.stack([core.double().sum(dim=(0, 2, 3)) for core in cores])
    mean = totals.sum(dim=0) / count
    squares = [(core.double() - mean[:, None, None]).square().sum(dim=(0, 2, 3)) for core in cores]
    return mean.float(), (torch.stack(squares).sum(dim=0) / count).float()


def _normalize(norm: Any, values: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    scale = torch.rsqrt(variance + norm.eps)
    if norm.weight is not None:
        scale = scale * norm.weight
    values = (values - mean[:, None, None]) * scale[:, None, None]
    return values if norm.bias is None else values + norm.bias[:, None, None]
