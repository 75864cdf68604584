"""Label the target images of a self-training config outside training.

python tools/generate_pseudo_labels.py CONFIG CHECKPOINT --out DIR [--portion SHARE] [--[no-]teacher]
    [--target-bn WEIGHT] [--analyze] [--launcher pytorch]

writes the artifact of a round: labels/, color/, confidence/ and manifest.json. Policy, views and what predicts
(label_with) are those of the config's SelfTrainingHook; a checkpoint without a teacher predicts itself. Statistics of
batch normalization are those of the checkpoint, or mixed with the target's by --target-bn. Started again
after an interruption it picks up where it stopped; where DIR holds the same labels already it checks them and stops.
The labels serve a plain supervised config too, see docs/self_training.md.
--analyze says how many labels are right, by those of the config's oracle_dataset: after the fact, or on a proxy target.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from mmengine.dist import init_dist, is_distributed, is_main_process
from mmengine.registry import init_default_scope
from mmengine.utils.dl_utils import set_multi_processing

import mmdrsl  # noqa: F401 - registers everything before a config is built
from mmdrsl.checkpoints import check_exists
from mmdrsl.engine.config_options import add_config_options, override
from mmdrsl.engine.labeling import build_labeling, use_target_statistics
from mmdrsl.engine.launch import (
    add_trust_option,
    join_cpu_process_group,
    read_config,
    run_tool,
)
from mmdrsl.engine.tool_end import writing
from mmdrsl.pseudo_labels.artifact import PseudoLabelArtifact
from mmdrsl.pseudo_labels.label_analysis import artifact_quality, labeled_among
from mmdrsl.pseudo_labels.labeler import model_hash


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Generate pseudo labels")
    parser.add_argument("config", help="config of a self-training")
    parser.add_argument("checkpoint", help="its checkpoint, or a plain MMSegmentation checkpoint")
    parser.add_argument("--out", type=Path, required=True, help="folder of the artifact")
    parser.add_argument(
        "--portion", type=float, help="share to label; default: that of the last round"
    )
    parser.add_argument(
        "--teacher",
        action=argparse.BooleanOptionalAction,
        help="predict with the averaged copy; default: the hook's label_with, where there is one",
    )
    parser.add_argument(
        "--target-bn",
        type=float,
        metavar="WEIGHT",
        help="predict with this weight of the target in the statistics of batch normalization",
    )
    parser.add_argument(
        "--analyze", action="store_true", help="compare with the labels of oracle_dataset"
    )
    parser.add_argument("--round", type=int, default=1, help="number noted in the manifest")
    parser.add_argument("--num-workers", type=int, help="loader processes; default: the hook's")
    add_config_options(parser)
    parser.add_argument(
        "--launcher", choices=["none", "pytorch", "slurm", "mpi"], default="none", help="launcher"
    )
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0)
    add_trust_option(parser)
    return parser.parse_args()


def label(args: argparse.Namespace) -> None:
    """Label what is not labeled yet."""
    os.environ.setdefault("LOCAL_RANK", str(args.local_rank))
    cfg = read_config(args.config)
    override(cfg, args.cfg_options)
    check_exists(args.checkpoint)
    join_cpu_process_group(args.launcher)
    environment = cfg.get("env_cfg", {})
    set_multi_processing(**environment.get("mp_cfg", {}), distributed=args.launcher != "none")
    if args.launcher != "none" and not is_distributed():
        init_dist(args.launcher, **environment.get("dist_cfg", {}))
    init_default_scope(cfg.get("default_scope", "mmseg"))
    job = build_labeling(
        cfg, checkpoint=args.checkpoint, portion=args.portion, teacher=args.teacher
    )
    if args.target_bn is not None:
        use_target_statistics(job, args.target_bn)
    artifact = PseudoLabelArtifact(args.out)
    infos = [job.dataset.get_data_info(index) for index in range(len(job.dataset))]
    images = {info["sample_id"]: Path(info["img_path"]) for info in infos}
    labeled = None
    if args.analyze:
        if "oracle_dataset" not in cfg:
            raise ValueError(
                f"--analyze needs the labeled target: {args.config} has no oracle_dataset."
            )
        labeled = labeled_among(images, cfg.oracle_dataset, job.dataset.metainfo["classes"])
    manifest = artifact.read_manifest()
    if manifest is not None:
        problems = artifact.check(
            manifest,
            classes=job.dataset.metainfo["classes"],
            images=images,
            model_hash=model_hash(job.labeler.predictor(job.networks)),
        )
        if manifest.policy != job.labeler.settings(job.networks):
            problems.append(f"{args.out}: labeled with other settings ({manifest.policy})")
        if manifest.round != args.round:
            problems.append(f"{args.out}: labels of round {manifest.round}, not {args.round}")
        if problems:
            raise ValueError(
                f"{args.out} holds another or a damaged round: {'; '.join(problems[:5])}. Remove the folder to label "
                "again, or choose another."
            )
        if is_main_process():
            artifact.clear_leftovers()
    else:
        manifest = job.labeler.label(
            model=job.model,
            networks=job.networks,
            dataset=job.dataset,
            artifact=artifact,
            round_number=args.round,
            num_workers=job.num_workers if args.num_workers is None else args.num_workers,
        )
    if is_main_process():
        print(
            f"{args.out}: {len(manifest.images)} images, {100 * manifest.coverage:.1f} % labeled by the "
            + ("averaged copy" if job.of_teacher else "network itself")
        )
        for name, share in manifest.kept_share.items():
            print(
                f"  {name:20s} kept {100 * share:5.1f} %, threshold {manifest.thresholds[name]:.3f}"
            )
        for name, value in manifest.scores.items():
            print(f"  {name}: {value:.4f}")
        if labeled is not None:
            quality = artifact_quality(artifact, labeled, list(job.dataset.metainfo["classes"]))
            print(f"  right of the labels of {quality['images']} images, %:")
            for name, share in quality["precision"].items():
                print(f"    {name:18s} {'-' if share is None else f'{100 * share:5.1f}'}")


def main() -> None:
    """Label, or say that the labels are there."""
    args = parse_args()
    with writing(args.out, tool="label", launcher=args.launcher):
        label(args)


if __name__ == "__main__":
    run_tool("label", main)
