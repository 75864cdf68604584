"""Evaluate a checkpoint of an adaptation or a plain MMSegmentation checkpoint.

python tools/test.py CONFIG CHECKPOINT [--work-dir DIR] [--out DIR] [--show-dir DIR] [--tta] [--launcher pytorch]
"""

from __future__ import annotations

import argparse
import os

from mmengine.runner import Runner

import mmdrsl  # noqa: F401 - registers everything before a config is built
from mmdrsl.checkpoints import check_exists
from mmdrsl.engine.config_options import add_config_options, override
from mmdrsl.engine.launch import (
    add_trust_option,
    join_cpu_process_group,
    read_config,
    run_tool,
    set_work_dir,
    wrap_for_cpu_ranks,
)
from mmdrsl.engine.tool_end import writing


def parse_args() -> argparse.Namespace:
    """Read MMSegmentation's test options from the command line."""
    parser = argparse.ArgumentParser(description="Evaluate a segmentor")
    parser.add_argument("config", help="config file")
    parser.add_argument("checkpoint", help="checkpoint file")
    parser.add_argument("--work-dir", help="where the metrics go, as JSON")
    parser.add_argument("--out", help="folder for predicted label maps")
    parser.add_argument(
        "--show-dir",
        help="folder for painted predictions; of several ranks, the first one's",
    )
    parser.add_argument("--tta", action="store_true", help="test time augmentation")
    add_config_options(parser)
    parser.add_argument(
        "--launcher", choices=["none", "pytorch", "slurm", "mpi"], default="none", help="launcher"
    )
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0)
    add_trust_option(parser)
    return parser.parse_args()


def main() -> None:
    """Build the runner and test."""
    args = parse_args()
    os.environ.setdefault("LOCAL_RANK", str(args.local_rank))
    cfg = read_config(args.config)
    cfg.launcher = args.launcher
    override(cfg, args.cfg_options)
    set_work_dir(cfg, args.config, args.work_dir)
    check_exists(args.checkpoint)
    cfg.load_from = args.checkpoint
    # The config that a resumed run left in its folder would build the training, too.
    cfg.resume = False
    if args.show_dir is not None:
        cfg.default_hooks.visualization.draw = True
        cfg.visualizer.save_dir = args.show_dir
    if args.tta:
        cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
        cfg.tta_model.module = cfg.model
        cfg.model = cfg.tta_model
    if args.out is not None:
        evaluators = cfg.test_evaluator
        (evaluators[0] if isinstance(evaluators, list) else evaluators).output_dir = args.out
    # A training may be running in the work dir; what a test writes there has a folder of its own.
    with writing(
        args.out or cfg.work_dir,
        tool="test",
        launcher=args.launcher,
        alone=args.out is not None,
        go_on=lambda: "the same command starts again",
    ):
        join_cpu_process_group(args.launcher)
        wrap_for_cpu_ranks(cfg, args.launcher)
        Runner.from_cfg(cfg).test()


if __name__ == "__main__":
    run_tool("test", main)
