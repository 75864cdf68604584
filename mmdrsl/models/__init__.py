"""Models: the adaptor, heads, discriminators and backbones that MMSegmentation lacks, terms and losses."""

from . import (
    backbones,
    data_preprocessors,
    decode_heads,
    discriminators,
    losses,
    segmentors,
    terms,
)

__all__ = [
    "backbones",
    "data_preprocessors",
    "decode_heads",
    "discriminators",
    "losses",
    "segmentors",
    "terms",
]
