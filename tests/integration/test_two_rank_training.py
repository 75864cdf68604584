"""Two CPU ranks against one process with the same global batch."""

import json
import re
import subprocess
import sys

import pytest
import torch
from run_tools import ROOT, run_tool, tool_environment

from mmdrsl.pseudo_labels.artifact import PseudoLabelArtifact

CONFIG = """
_base_ = [{base!r}]
# Group norm has no batch statistics, as frozen batch norm has none.
norm_cfg = dict(type="GN", num_groups=4)
model = dict(
    # A batch is padded to one size, whichever images it holds.
    data_preprocessor=dict(size=(128, 256), size_divisor=None),
    segmentor=dict(
        backbone=dict(norm_cfg=norm_cfg),
        decode_head=dict(
            norm_cfg=norm_cfg,
            dropout_ratio=0.0,
            loss_decode=dict(
                _delete_=True,
                type="WeightedCrossEntropyLoss",
                class_weight={{{{_base_.class_weight}}}},
                synchronize={synchronize},
            ),
        ),
    ),
    terms=dict(
        target=dict(
            loss=dict(_delete_=True, type="WeightedCrossEntropyLoss", synchronize={synchronize})
        ),
        regularization=dict(synchronize={synchronize}),
    ),
)
optim_wrapper = dict(
    _delete_=True, type="OptimWrapper", optimizer=dict(type="SGD", lr=0.02, momentum=0.9)
)
param_scheduler = []
train_cfg = dict(max_iters=8, val_interval=8)
default_hooks = dict(
    self_training=dict(
        warmup_iterations=4,
        rounds=[dict(iterations=4, portion=0.5, target_share=0.5)],
        evaluate_rounds=False,
        labeler=dict(policy=dict(lowest_threshold=0.01)),
    ),
    checkpoint=dict(interval=8),
)
val_cfg = val_dataloader = val_evaluator = None
"""


def train(work_dir, scenes_root, tmp_path, *, ranks, synchronize=True, port=29621):
    config = tmp_path / f"ranks_{synchronize}.py"
    base = str(ROOT / "configs/self_training/deeplabv3plus_scenes2scenes.py")
    config.write_text(CONFIG.format(base=base, synchronize=synchronize))
    launch = ["-m", "torch.distributed.run", f"--nproc_per_node={ranks}", f"--master_port={port}"]
    run_tool(
        [
            *(sys.executable, *launch, "tools/train.py", str(config), "--launcher", "pytorch"),
            *("--work-dir", str(work_dir), "--cfg-options"),
            f"train_dataloader.batch_size={4 // ranks}",
            "default_hooks.self_training.labeler.flip=False",
        ],
        scenes_root,
    )
    loaded = torch.load(work_dir / "iter_8.pth", map_location="cpu", weights_only=False)
    return loaded["state_dict"], PseudoLabelArtifact(work_dir / "pseudo_labels" / "round_1")


ROUNDS = """
_base_ = [{base!r}]
train_cfg = dict(max_iters=6, val_interval=3)
default_hooks = dict(
    self_training=dict(
        warmup_iterations=2,
        rounds=[
            dict(iterations=2, portion=0.5, target_share=0.5),
            dict(iterations=2, portion=0.5, target_share=0.5, restart=True),
        ],
        labeler=dict(policy=dict(lowest_threshold=0.01)),
    ),
    checkpoint=dict(interval=1, max_keep_ckpts=-1),
)
"""


@pytest.mark.slow
def test_two_ranks_evaluate_and_restart_as_one_model(scenes_root, tmp_path):
    # Batch normalization, whose statistics each rank takes of its own batches.
    config = tmp_path / "rounds.py"
    base = str(ROOT / "configs/self_training/deeplabv3plus_scenes2scenes.py")
    config.write_text(ROUNDS.format(base=base))
    launch = ["-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port=29637"]
    command = [sys.executable, *launch, "tools/train.py", str(config), "--launcher", "pytorch"]
    options = ["--cfg-options", "train_dataloader.batch_size=2", "model.normalization=joint"]
    run_tool([*command, "--work-dir", str(tmp_path / "run"), *options], scenes_root)
    rounds = json.loads((tmp_path / "run/rounds.json").read_text())
    assert sorted(rounds) == ["0", "1", "2"]
    for entry in rounds.values():
        checkpoint = tmp_path / f"run/iter_{entry['iteration']}.pth"
        test = [sys.executable, "tools/test.py", str(config), str(checkpoint)]
        output = run_tool([*test, "--work-dir", str(tmp_path / "test")], scenes_root)
        for name in ("mIoU", "aAcc"):
            found = float(re.findall(rf"\b{name}: ([0-9.]+)", output)[-1])
            assert found == pytest.approx(entry["metrics"][name], abs=0.01)


def largest_difference(first, second):
    return max(
        (first[name] - second[name]).abs().max().item()
        for name in first
        if first[name].is_floating_point()
    )


@pytest.mark.slow
def test_two_ranks_train_to_the_weights_of_one(scenes_root, tmp_path):
    one, labels_of_one = train(tmp_path / "one", scenes_root, tmp_path, ranks=1)
    two, labels_of_two = train(tmp_path / "two", scenes_root, tmp_path, ranks=2, port=29622)
    untouched, _ = train(
        tmp_path / "own", scenes_root, tmp_path, ranks=2, synchronize=False, port=29623
    )
    manifests = [each.read_manifest() for each in (labels_of_one, labels_of_two)]
    assert manifests[0].images.keys() == manifests[1].images.keys()
    assert manifests[0].coverage == pytest.approx(manifests[1].coverage, abs=0.01)
    # Sums in another order: the same up to rounding.
    assert largest_difference(one, two) < 1e-4
    # And that is the synchronized counts' doing.
    assert largest_difference(one, untouched) > 10 * largest_difference(one, two)


@pytest.mark.slow
def test_two_ranks_resume_to_the_same_end(scenes_root, tmp_path):
    """Killed while both ranks label, then resumed."""
    program = """
import os, runpy, signal, sys
from mmdrsl.self_training import PseudoLabelArtifact
proceed, written = PseudoLabelArtifact.write_image, []

def kill(artifact, image_id, *arguments):
    if len(written) == 2 and os.environ["RANK"] == "1":
        os.kill(os.getpid(), signal.SIGKILL)
    written.append(image_id)
    return proceed(artifact, image_id, *arguments)

PseudoLabelArtifact.write_image = kill
runpy.run_path("tools/train.py", run_name="__main__")
"""
    base = str(ROOT / "configs/self_training/deeplabv3plus_scenes2scenes.py")
    config = tmp_path / "config.py"
    config.write_text(CONFIG.format(base=base, synchronize=True))
    killer = tmp_path / "killer.py"
    killer.write_text(program)

    def command(tool, work_dir, *flags):
        launch = ["-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port=29624"]
        return [
            *(sys.executable, *launch, str(tool), str(config), "--launcher", "pytorch", *flags),
            *("--work-dir", str(work_dir), "--cfg-options", "train_dataloader.batch_size=2"),
            "default_hooks.checkpoint.interval=4",
        ]  # fmt: skip

    run_tool(command("tools/train.py", tmp_path / "whole"), scenes_root)
    done = subprocess.run(
        command(killer, tmp_path / "killed"), cwd=ROOT, env=tool_environment(scenes_root),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert not (tmp_path / "killed" / "pseudo_labels" / "round_1" / "manifest.json").exists()
    run_tool(command("tools/train.py", tmp_path / "killed", "--resume"), scenes_root)
    whole, killed = (
        torch.load(tmp_path / name / "iter_8.pth", weights_only=False)["state_dict"]
        for name in ("whole", "killed")
    )
    assert all(torch.equal(whole[name], killed[name]) for name in whole)


ADVERSARIAL = """
_base_ = [{base!r}]
norm_cfg = dict(type="GN", num_groups=4)
loss = dict(
    _delete_=True,
    type="WeightedCrossEntropyLoss",
    class_weight={{{{_base_.class_weight}}}},
    synchronize=True,
)
model = dict(
    data_preprocessor=dict(size=(128, 256), size_divisor=None),
    normalization="joint",
    segmentor=dict(
        backbone=dict(norm_cfg=norm_cfg),
        decode_head=dict(norm_cfg=norm_cfg, dropout_ratio=0.0, loss_decode=loss),
    ),
    heads=dict(auxiliary=dict(norm_cfg=norm_cfg, dropout_ratio=0.0, loss_decode=loss)),
    # Heavy, so that it shows in eight steps.
    terms=dict(adversarial=dict(weight=0.5), adversarial_auxiliary=dict(weight=0.5)),
)
optim_wrapper = dict(
    _delete_=True, type="OptimWrapper", optimizer=dict(type="SGD", lr=0.02, momentum=0.9)
)
param_scheduler = []
train_cfg = dict(max_iters=8, val_interval=8)
default_hooks = dict(
    teacher=dict(begin=4),
    self_training=dict(
        warmup_iterations=4,
        rounds=[dict(iterations=4, target_share=0.5)],
        evaluate_rounds=False,
    ),
    checkpoint=dict(interval=8),
)
val_cfg = val_dataloader = val_evaluator = None
"""


@pytest.mark.slow
def test_two_ranks_train_discriminators_as_one_does(scenes_root, tmp_path):
    config = tmp_path / "adversarial.py"
    base = str(ROOT / "configs/adaptsegnet_multi/deeplabv3plus_scenes2scenes.py")
    config.write_text(ADVERSARIAL.format(base=base))
    ends = []
    for ranks, port in ((1, 29625), (2, 29626)):
        launch = [
            "-m",
            "torch.distributed.run",
            f"--nproc_per_node={ranks}",
            f"--master_port={port}",
        ]
        work_dir = tmp_path / f"ranks_{ranks}"
        run_tool(
            [
                *(sys.executable, *launch, "tools/train.py", str(config), "--launcher", "pytorch"),
                *("--work-dir", str(work_dir), "--cfg-options"),
                f"train_dataloader.batch_size={4 // ranks}",
            ],
            scenes_root,
        )
        loaded = torch.load(work_dir / "iter_8.pth", map_location="cpu", weights_only=False)
        ends.append(loaded["state_dict"])
    one, two = ends
    assert sum(name.startswith("discriminators.") for name in one) == 20
    assert one.keys() == two.keys()
    assert largest_difference(one, two) < 1e-4
