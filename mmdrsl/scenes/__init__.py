"""A small procedural street world in two looks, for adaptation runs without downloads."""

from mmdrsl.scenes.catalog import (
    CLASS_SUBTYPES,
    LABEL_COLORS,
    LABEL_IDS,
    SUBTYPES,
    label_of_subtype,
    label_palette,
    subtype_id,
)
from mmdrsl.scenes.proxy_target import write_proxy_target
from mmdrsl.scenes.render import Scene, render_scene
from mmdrsl.scenes.world import LOOKS, Look
from mmdrsl.scenes.writer import scene_paths, write_scenes

__all__ = [
    "CLASS_SUBTYPES",
    "LABEL_COLORS",
    "LABEL_IDS",
    "LOOKS",
    "SUBTYPES",
    "Look",
    "Scene",
    "label_of_subtype",
    "label_palette",
    "render_scene",
    "scene_paths",
    "subtype_id",
    "write_proxy_target",
    "write_scenes",
]
