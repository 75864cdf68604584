"""Runs the command line tools as a user does, on a tiny set of scenes."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DRSL_CONFIG = "configs/drsl/deeplabv3plus_scenes2scenes.py"
# Eight steps of warm-up, then three rounds of four: twenty steps through every stage.
TWENTY_STEPS = [
    "train_cfg.max_iters=20",
    "train_cfg.val_interval=20",
    "default_hooks.self_training.warmup_iterations=8",
    *(f"default_hooks.self_training.rounds.{index}.iterations=4" for index in range(3)),
    # After eight steps a model is sure of nothing; these labels are about the mechanism.
    "default_hooks.self_training.labeler.policy.lowest_threshold=0.05",
    "default_hooks.teacher.begin=8",
    "default_hooks.modes.kmeans_iteration=4",
    "default_hooks.modes.interval=8",
    "default_hooks.checkpoint.interval=2",
    "default_hooks.logger.interval=1",
    # Two images of each domain: normalized apart, pooled features need more than one.
    "train_dataloader.batch_size=4",
]


def tool_environment(scenes_root):
    return {
        **os.environ,
        "MMDRSL_SCENES": str(scenes_root),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "PYTHON": sys.executable,
    }


def train_command(work_dir, *options, config=DRSL_CONFIG, flags=()):
    return [
        sys.executable,
        "tools/train.py",
        config,
        "--work-dir",
        str(work_dir),
        *flags,
        "--cfg-options",
        *TWENTY_STEPS,
        *options,
    ]


def run_tool(command, scenes_root, timeout=300):
    """Run a command from the repository root; return its output, fail with it."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=tool_environment(scenes_root),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    return done.stdout
