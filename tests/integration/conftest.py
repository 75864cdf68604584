import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmdrsl.scenes import write_scenes

ROOT = Path(__file__).resolve().parents[2]
DRSL_CONFIG = "configs/drsl/deeplabv3plus_scenes2scenes.py"
# Eight steps of warm-up, then three rounds of four: twenty steps through every stage.
TWENTY_STEPS = [
    "train_cfg.max_iters=20",
    "train_cfg.val_interval=20",
    "default_hooks.self_training.warmup_iterations=8",
    *(f"default_hooks.self_training.rounds.{index}.iterations=4" for index in range(3)),
    "default_hooks.modes.kmeans_iteration=4",
    "default_hooks.modes.interval=8",
    "default_hooks.checkpoint.interval=2",
    "default_hooks.logger.interval=1",
    "train_dataloader.batch_size=2",
]


@pytest.fixture(scope="session")
def scenes_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("scenes") / "set"
    write_scenes(
        out_dir=root,
        seed=7,
        num_game=12,
        num_camera_train=6,
        num_camera_val=4,
        image_size=(128, 64),
    )
    return root


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


@pytest.fixture(scope="session")
def uninterrupted_run(scenes_root, tmp_path_factory):
    """Work dir of one whole DRSL run of twenty steps."""
    work_dir = tmp_path_factory.mktemp("runs") / "whole"
    run_tool(train_command(work_dir), scenes_root)
    return work_dir
