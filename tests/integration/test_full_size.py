"""The headline config on real GTA5 and Cityscapes files, at full size, as they lie on disk."""

import json
import os

import cv2
import pytest
from run_tools import run_tool

SAMPLES = os.environ.get("MMDRSL_SAMPLES", "")
# Two steps of warm-up, then three rounds of one.
FIVE_STEPS = [
    *("train_cfg.max_iters=5", "train_cfg.val_interval=5", "train_dataloader.batch_size=2"),
    "default_hooks.self_training.warmup_iterations=2",
    *(f"default_hooks.self_training.rounds.{index}.iterations=1" for index in range(3)),
    "default_hooks.self_training.evaluate_rounds=False",
    "default_hooks.self_training.labeler.flip=False",
    *("train_dataloader.num_workers=0", "val_dataloader.num_workers=0"),
    "default_hooks.self_training.num_workers=0",
]


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.skipif(not os.path.isdir(SAMPLES), reason="MMDRSL_SAMPLES names no folder of samples")
def test_gta2cs_trains_labels_and_evaluates_at_full_size(tmp_path):
    command = ["tools/train.py", "configs/drsl/deeplabv3plus_gta2cs.py", "--work-dir", tmp_path]
    run_tool([*command, "--cfg-options", *FIVE_STEPS], scenes_root="", timeout=2900)
    rounds = json.loads((tmp_path / "rounds.json").read_text())
    assert rounds["3"]["iteration"] == 5
    assert "IoU.road" in rounds["3"]["metrics"]
    labels = sorted((tmp_path / "pseudo_labels" / "round_3" / "labels").glob("*.png"))
    assert len(labels) == 3
    assert all(cv2.imread(str(path), -1).shape == (1024, 2048) for path in labels)
