"""Which weight of the target's statistics should a network predict with? Scores that need no label.

python tools/analysis_tools/compare_statistics.py CONFIG CHECKPOINT [--target-weights 0 0.25 0.5 0.75 1]
    [--num-images 64] [--num-scored 24] [--cfg-options KEY=VALUE ...]

For every weight the statistics of batch normalization are mixed with those of the config's unlabeled target images, as
`TestTimeBNHook` does it, and other images of the target are predicted. Printed are percentages of pixels that
get the same class twice: from the segmentation head and the modes (where the model has them), from the image and its
mirror image, from the image and the image at 0.7 of its size; and the mean entropy, which falls with any weight and
chooses nothing. Where the first three are highest, labels and predictions are most consistent.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from mmseg.registry import DATASETS
from torch import Tensor

import mmdrsl  # noqa: F401 - registers everything before a config is built
from mmdrsl.datasets.unlabeled import UnlabelledDataset
from mmdrsl.engine.bn_statistics import (
    evenly_spaced,
    images_of,
    mix_target_statistics,
)
from mmdrsl.engine.config_options import add_config_options, override
from mmdrsl.engine.launch import add_trust_option, read_config, run_tool
from mmdrsl.evaluation.label_free import agreement
from mmdrsl.models.segmentors.uda_segmentor import UDASegmentor
from mmdrsl.pseudo_labels.domain_scores import mean_entropy
from mmdrsl.pseudo_labels.views import JointHeads
from mmdrsl.visualization.mode_maps import load_model

SCALE = 0.7
SECOND_HEAD = "mmdl"


def with_target_weight(
    model: UDASegmentor,
    target: UnlabelledDataset,
    weight: float,
    num_images: int,
    pipeline: Sequence[dict] | None = None,
) -> UDASegmentor:
    """A copy of a model under statistics in which the target has a weight; 0 leaves them as they are."""
    model = copy.deepcopy(model)
    if weight > 0:
        mix_target_statistics(
            model,
            model.networks(),
            target,
            weight=weight,
            num_images=num_images,
            batch_size=8,
            pipeline=pipeline,
        )
    return model.eval()


@torch.no_grad()
def consistency(model: UDASegmentor, images: Iterable[Tensor]) -> dict[str, float]:
    """How often a pixel gets the same class twice, and how certain its class is.

    Args:
        model: Model in evaluation mode.
        images: Normalized images, each (1, 3, H, W).

    Returns:
        Means over the images: ``heads`` (only with modes), ``mirrored`` and ``smaller`` in [0, 1], ``entropy`` in
        [0, 1].
    """
    segmentor: Any = model.segmentor
    has_modes = SECOND_HEAD in dict(model.heads.items())
    network = JointHeads(segmentor, SECOND_HEAD, model.heads).eval() if has_modes else segmentor

    def logits(image: Tensor, size: Sequence[int]) -> Tensor:
        """Of every head, shape (heads, C, H, W)."""
        found = network.encode_decode(image, [dict(img_shape=image.shape[2:])]).float()
        found = torch.nn.functional.interpolate(found, size=tuple(size), mode="bilinear")
        return found[0].unflatten(0, (-1, model.num_classes))

    rows: list[dict[str, float]] = []
    for image in images:
        size = image.shape[2:]
        usual = logits(image, size)
        smaller = torch.nn.functional.interpolate(image, scale_factor=SCALE, mode="bilinear")
        row = {
            "mirrored": agreement(usual[0], logits(image.flip(3), size)[0].flip(2)),
            "smaller": agreement(usual[0], logits(smaller, size)[0]),
            "entropy": mean_entropy(usual[0].softmax(dim=0)),
        }
        if has_modes:
            row = {"heads": agreement(usual[0], usual[1]), **row}
        rows.append(row)
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def held_out(count: int, num_images: int, num_scored: int) -> list[int]:
    """Numbers of images that `target_batches` does not take, evenly spaced; fewer where there are fewer.

    Args:
        count: Images of the dataset.
        num_images: Images that the statistics are taken from.
        num_scored: How many to name at most.
    """
    left = np.setdiff1d(np.arange(count), evenly_spaced(count, num_images))
    steps = (np.arange(min(num_scored, len(left))) + 0.5) / max(1, min(num_scored, len(left)))
    return left[(steps * len(left)).astype(int)].tolist()


def main() -> None:
    """Score every weight and print one line each."""
    parser = argparse.ArgumentParser(description="Label-free scores of weights of the target")
    parser.add_argument("config", help="config of the run, with unlabeled target images")
    parser.add_argument("checkpoint", help="its checkpoint")
    parser.add_argument("--target-weights", nargs="+", type=float, default=[0, 0.25, 0.5, 0.75, 1])
    parser.add_argument("--num-images", type=int, default=64, help="images for the statistics")
    parser.add_argument("--num-scored", type=int, default=24, help="images to predict")
    add_config_options(parser)
    add_trust_option(parser)
    args = parser.parse_args()
    if min(args.num_images, args.num_scored) < 1:
        parser.error("--num-images and --num-scored must be at least 1")
    if not all(0 <= weight <= 1 for weight in args.target_weights):
        parser.error(f"--target-weights must be in [0, 1], found {args.target_weights}")
    cfg = read_config(args.config)
    override(cfg, args.cfg_options)
    if not (cfg.get("train_dataloader") or {}).get("dataset", {}).get("target"):
        parser.error(
            f"{args.config} has no train_dataloader.dataset.target: give a config of an adaptation"
        )
    model = load_model(cfg, args.checkpoint)
    target = DATASETS.build(cfg.train_dataloader.dataset.target)
    scored = held_out(len(target), args.num_images, args.num_scored)
    if not scored:
        parser.error(
            f"all {len(target)} images of the target are in the statistics: give a smaller --num-images"
        )
    header = None
    # Images as the network labels them, where that is not at their own size.
    pipeline = cfg.get("labeling_pipeline")
    for weight in args.target_weights:
        own = with_target_weight(model, target, weight, args.num_images, pipeline)
        found = consistency(own, images_of(own, target, scored, pipeline=pipeline))
        if header is None:
            header = list(found)
            print(f"| weight of the target | {' | '.join(header)} |")
            print("| --- " * (len(header) + 1) + "|")
        cells = [f"{100 * found[name]:.1f}" for name in header]
        print(f"| {weight} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    run_tool("compare_statistics", main)
