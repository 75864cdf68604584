"""Which checkpoint is the best on the target? Scores that need no label, and a ranking.

python tools/analysis_tools/rank_checkpoints.py CONFIG CHECKPOINT [CHECKPOINT ...] [--num-images 48]
    [--miou VALUE ...] [--json FILE] [--cfg-options KEY=VALUE ...]

The checkpoints are of one pair and one network; CONFIG names both, and the target images. Student or teacher is ranked,
whichever the config evaluates. Where methods differ in more than weights, give CONFIG=CHECKPOINT for each instead of
CHECKPOINT. The table is sorted by the mean rank over the scores; --miou, one value for each checkpoint in the same
order, adds each score's rank correlation with it. The scores guide a choice and prove nothing: docs/self_training.md
says how well they agreed with labels.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS
from prettytable import PrettyTable
from torch import Tensor

import mmdrsl  # noqa: F401 - registers everything before a config is built
from mmdrsl.atomic_files import replacing
from mmdrsl.checkpoint_weights import weights_of
from mmdrsl.checkpoints import read_checkpoint
from mmdrsl.engine.bn_statistics import evenly_spaced, images_of
from mmdrsl.engine.config_options import add_config_options, override
from mmdrsl.engine.launch import add_trust_option, read_config, run_tool
from mmdrsl.evaluation.label_free import SCORES, agreement, information, mean_ranks
from mmdrsl.inference import load_network
from mmdrsl.models.block_mask import block_mask
from mmdrsl.models.segmentors.export import exports_teacher, has_teacher
from mmdrsl.pseudo_labels.domain_scores import mean_entropy, soft_neighborhood_density

BLOCK_SHARE = 6


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Rank checkpoints without labels")
    parser.add_argument("config", help="config of a training, with unlabeled target images")
    parser.add_argument("checkpoints", nargs="+", help="checkpoints, or CONFIG=CHECKPOINT")
    parser.add_argument("--num-images", type=int, default=48, help="target images to predict")
    parser.add_argument("--miou", nargs="+", type=float, help="known values, to correlate with")
    parser.add_argument("--json", type=Path, help="file for the scores")
    add_config_options(parser)
    add_trust_option(parser)
    args = parser.parse_args()
    if args.num_images < 1:
        parser.error(f"--num-images must be at least 1, found {args.num_images}")
    if args.miou is not None and len(args.miou) != len(args.checkpoints):
        parser.error(
            f"--miou has {len(args.miou)} values for {len(args.checkpoints)} checkpoints: give one for each"
        )
    return args


@torch.inference_mode()
def score(segmentor: Any, other: Any, images: Iterable[Tensor]) -> dict[str, float]:
    """Score a network on images.

    Args:
        segmentor: The network in evaluation mode.
        other: Student or teacher, whichever it is not; None without a teacher.
        images: Normalized images, each (1, 3, H, W).

    Returns:
        Scores by name; ``teacher`` only with one.
    """

    def predict(network: Any, image: Tensor) -> Tensor:
        size = image.shape[2:]
        return network.inference(image, [dict(ori_shape=size, img_shape=size)]).float()[0]

    rows: list[dict[str, float]] = []
    means = []
    with torch.random.fork_rng(devices=[]):
        # The same blocks for every checkpoint.
        torch.manual_seed(0)
        for image in images:
            logits = predict(segmentor, image)
            probabilities = logits.softmax(dim=0)
            means.append(probabilities.flatten(1).mean(dim=1))
            block_size = max(1, min(image.shape[2:]) // BLOCK_SHARE)
            masked = image * block_mask(image, block_size=block_size, ratio=0.5)
            row = {
                "entropy": -mean_entropy(probabilities),
                "density": soft_neighborhood_density(probabilities),
                "masked": agreement(logits, predict(segmentor, masked)),
                "mirrored": agreement(logits, predict(segmentor, image.flip(3)).flip(2)),
            }
            if other is not None:
                row["teacher"] = agreement(logits, predict(other, image))
            rows.append(row)
    scores = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    scores["information"] = information(torch.stack(means).mean(dim=0), -scores["entropy"])
    return {name: scores[name] for name in SCORES if name in scores}


def score_checkpoint(config: str, checkpoint: str, args: argparse.Namespace) -> dict[str, float]:
    """Score one checkpoint on the target images of a config: the network that the config evaluates.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: The config has no target, or the checkpoint does not fit.
    """
    cfg = read_config(config)
    override(cfg, args.cfg_options)
    init_default_scope(cfg.get("default_scope", "mmseg"))
    target = (cfg.get("train_dataloader") or {}).get("dataset", {}).get("target")
    if target is None:
        raise ValueError(
            f"{config} has no train_dataloader.dataset.target: give a config of an adaptation"
        )
    state = weights_of(read_checkpoint(checkpoint), checkpoint)
    predicts = exports_teacher(cfg, state, None)
    network = load_network(cfg, checkpoint, teacher=predicts)
    other = None
    # Before a teacher's first update there is none.
    if has_teacher(state):
        other = load_network(cfg, checkpoint, teacher=not predicts).segmentor
    dataset = DATASETS.build({**target, "check": False})
    numbers = evenly_spaced(len(dataset), args.num_images).tolist()
    images = images_of(network.model, dataset, numbers, pipeline=cfg.get("labeling_pipeline"))
    return score(network.segmentor, other, images)


def rank(args: argparse.Namespace) -> str:
    """Score all checkpoints; return the table."""
    rows = []
    for entry in args.checkpoints:
        own, _, checkpoint = entry.rpartition("=")
        scores = score_checkpoint(own or args.config, checkpoint, args)
        rows.append({"checkpoint": entry, "scores": scores})
        print(f"{entry}: {', '.join(f'{k} {v:.3f}' for k, v in scores.items())}", file=sys.stderr)
    ranks = mean_ranks([row["scores"] for row in rows])
    for row, mean_rank in zip(rows, ranks, strict=True):
        row["mean_rank"] = mean_rank
    names = [name for name in SCORES if any(name in row["scores"] for row in rows)]
    table = PrettyTable(["checkpoint", "mean rank", *names])
    table.align["checkpoint"] = "l"
    for row in sorted(rows, key=lambda row: row["mean_rank"]):
        found = row["scores"]
        table.add_row(
            [row["checkpoint"], f"{row['mean_rank']:.1f}"]
            + [f"{found[name]:.3f}" if name in found else "-" for name in names]
        )
    correlations = {}
    if args.miou is not None and len(rows) > 2:
        # Imported where it is used: `--help` needs none of it.
        from scipy.stats import spearmanr

        columns = {"mean rank": [-row["mean_rank"] for row in rows]}
        for name in names:
            if all(name in row["scores"] for row in rows):
                columns[name] = [row["scores"][name] for row in rows]
        correlations = {
            name: float(spearmanr(values, args.miou).statistic)
            for name, values in columns.items()
            # Equal values have no order.
            if len(set(values)) > 1
        }
        cells = [
            f"{correlations[n]:.2f}" if n in correlations else "-" for n in ["mean rank", *names]
        ]
        table.add_row(["rank correlation with --miou", *cells])
    if args.json is not None:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        with replacing(args.json) as temporary:
            temporary.write_text(json.dumps({"rows": rows, "correlations": correlations}, indent=1))
    legend = "\n".join(f"{name}: {SCORES[name]}" for name in names)
    return f"{table}\n{legend}"


def main() -> None:
    """Rank and print the table."""
    args = parse_args()
    # MMEngine says at every config that it found the data.
    logging.disable(logging.INFO)
    print(rank(args))


if __name__ == "__main__":
    run_tool("rank_checkpoints", main)
