"""Mode maps of both domains side by side: does a mode mean the same thing in each?

python tools/analysis_tools/mode_maps.py CONFIG CHECKPOINT [--out work_dirs/mode_maps.png] [--num-pairs N]
    [--cfg-options KEY=VALUE ...]

One row per pair of images: source image, its modes, its classes, then the same of the target. Every class has its
color, every mode of it a shade. Classes are those that the model predicts.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS

import mmdrsl  # noqa: F401 - registers everything before a config is built
from mmdrsl.datasets.inspection.config_domains import plain_datasets
from mmdrsl.engine.config_options import add_config_options, override
from mmdrsl.engine.launch import add_trust_option, read_config, run_tool
from mmdrsl.models.segmentors.uda_segmentor import UDASegmentor
from mmdrsl.visualization.colors import color_labels, color_modes
from mmdrsl.visualization.mode_maps import load_model, mode_head, predict_modes

GAP = 6


def panels(model: UDASegmentor, packed: dict, palette: list, height: int) -> np.ndarray:
    """Image, modes and classes of one sample side by side, RGB of the given height."""
    classes, modes = predict_modes(model, packed)
    image = packed["inputs"].numpy().transpose(1, 2, 0)[..., ::-1]
    drawn = (
        image,
        color_modes(classes, modes, palette, mode_head(model, "mmdl").num_modes),
        color_labels(classes, palette),
    )
    width = round(image.shape[1] * height / image.shape[0])
    space = np.full((height, GAP, 3), 255, dtype=np.uint8)
    row = []
    for picture, interpolation in zip(
        drawn, (cv2.INTER_AREA, cv2.INTER_NEAREST, cv2.INTER_NEAREST), strict=True
    ):
        resized = cv2.resize(
            np.ascontiguousarray(picture), (width, height), interpolation=interpolation
        )
        row += [resized, space]
    return np.hstack(row)


def mode_map_sheet(
    cfg: Config, model: UDASegmentor, *, num_pairs: int, height: int = 180
) -> np.ndarray:
    """Draw pairs of source and target images with their modes.

    Args:
        cfg: The run's config; source images come from its training data, target images from its validation data.
        model: Model in evaluation mode with modes.
        num_pairs: Rows.
        height: Of a picture, in pixels.

    Returns:
        RGB, uint8.
    """
    init_default_scope(cfg.default_scope)
    target = DATASETS.build(cfg.val_dataloader.dataset)
    # The original images, where the run trains on translations of them.
    source_cfg = next(plain_datasets(cfg.train_dataloader.dataset.source))
    source = DATASETS.build({**source_cfg, "pipeline": cfg.val_dataloader.dataset.pipeline})
    palette = target.metainfo["palette"]
    rows = []
    for share in np.linspace(0, 1, num_pairs):
        pair = [data[round(share * (len(data) - 1))] for data in (source, target)]
        rows.append(np.hstack([panels(model, packed, palette, height) for packed in pair]))
    width = max(row.shape[1] for row in rows)
    # Images of another shape make rows of another width.
    rows = [
        np.pad(row, ((0, GAP), (0, width - row.shape[1]), (0, 0)), constant_values=255)
        for row in rows
    ]
    return np.vstack(rows)


def main() -> None:
    """Draw and write."""
    parser = argparse.ArgumentParser(description="Mode maps of both domains")
    parser.add_argument("config", help="config of a run that learns modes")
    parser.add_argument("checkpoint", help="its checkpoint")
    parser.add_argument("--out", type=Path, default=Path("work_dirs/mode_maps.png"))
    parser.add_argument("--num-pairs", type=int, default=5)
    add_config_options(parser)
    add_trust_option(parser)
    args = parser.parse_args()
    if args.out.suffix not in (".png", ".jpg"):
        parser.error(
            f"--out {args.out} is no picture: expected a file name that ends with .png or .jpg"
        )
    cfg = read_config(args.config)
    override(cfg, args.cfg_options)
    sheet = mode_map_sheet(cfg, load_model(cfg, args.checkpoint), num_pairs=args.num_pairs)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(args.out), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    print(f"Wrote {args.out}")


if __name__ == "__main__":
    run_tool("mode_maps", main)
