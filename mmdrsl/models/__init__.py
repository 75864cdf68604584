"""Networks and what any method uses: the adaptor, backbones, heads, discriminators, losses."""

from . import backbones, data_preprocessors, decode_heads, discriminators, losses, segmentors

__all__ = [
    "backbones",
    "data_preprocessors",
    "decode_heads",
    "discriminators",
    "losses",
    "segmentors",
]
