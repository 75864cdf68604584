"""Train or adapt a segmentor, or train a translator: one config, one command.

python tools/train.py CONFIG [--work-dir DIR] [--resume] [--load-from FILE] [--amp] [--launcher pytorch]
    [--cfg-options KEY=VALUE ...] [--trust-checkpoint FILE]
"""

from __future__ import annotations

import argparse
import os

from mmengine.runner import Runner

import mmdrsl  # noqa: F401 - registers everything before a config is built
from mmdrsl.engine.config_options import add_config_options, override
from mmdrsl.engine.launch import (
    add_trust_option,
    join_cpu_process_group,
    prefer_own_checkpoint,
    read_config,
    run_tool,
    set_work_dir,
    use_mixed_precision,
    wrap_for_cpu_ranks,
)
from mmdrsl.engine.tool_end import how_to_resume, writing


def parse_args() -> argparse.Namespace:
    """Read MMSegmentation's training options from the command line."""
    parser = argparse.ArgumentParser(description="Train or adapt a segmentor")
    parser.add_argument("config", help="config file")
    parser.add_argument("--work-dir", help="where logs, checkpoints and pseudo labels go")
    parser.add_argument(
        "--resume", action="store_true", help="continue from the last checkpoint in the work dir"
    )
    parser.add_argument(
        "--load-from", help="checkpoint to begin with; with --resume, its step and optimizer too"
    )
    parser.add_argument("--amp", action="store_true", help="automatic mixed precision")
    add_config_options(parser)
    parser.add_argument(
        "--launcher", choices=["none", "pytorch", "slurm", "mpi"], default="none", help="launcher"
    )
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0)
    add_trust_option(parser)
    return parser.parse_args()


def main() -> None:
    """Build the runner and train."""
    args = parse_args()
    os.environ.setdefault("LOCAL_RANK", str(args.local_rank))
    cfg = read_config(args.config)
    cfg.launcher = args.launcher
    override(cfg, args.cfg_options)
    if args.load_from is not None:
        cfg.load_from = args.load_from
    set_work_dir(cfg, args.config, args.work_dir)
    if args.amp:
        use_mixed_precision(cfg.optim_wrapper)
    cfg.resume = args.resume or cfg.get("resume", False)
    with writing(
        cfg.work_dir,
        tool="train",
        launcher=args.launcher,
        go_on=lambda: how_to_resume(cfg.work_dir),
    ):
        prefer_own_checkpoint(cfg)
        join_cpu_process_group(args.launcher)
        wrap_for_cpu_ranks(cfg, args.launcher)
        Runner.from_cfg(cfg).train()


if __name__ == "__main__":
    run_tool("train", main)
