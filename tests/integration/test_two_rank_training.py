"""Two CPU ranks against one process with the same global batch."""

import json
import re
import signal

import pytest
import torch
from run_tools import ROOT, run_ranks, run_tool

from mmdrsl.pseudo_labels.artifact import PseudoLabelArtifact

# Four steps of warm-up and a round of four. Group norm has no batch statistics, and SGD repeats no rounding error.
CONFIG = """
_base_ = [{base!r}]
norm_cfg = dict(type="GN", num_groups=4)
loss = dict(_delete_=True, type={loss!r})
model = dict(
    # A batch is padded to one size, whichever images it holds.
    data_preprocessor=dict(size=(128, 256), size_divisor=None),
    bn_mode="joint",
    segmentor=dict(
        backbone=dict(norm_cfg=norm_cfg),
        decode_head=dict(norm_cfg=norm_cfg, dropout_ratio=0.0, loss_decode=loss),
    ),
    {model}
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
        rounds=[dict(iterations=4, portion=0.5, target_share=0.5)],
        evaluate_rounds=False,
        labeler=dict(flip=False, policy=dict(lowest_threshold=0.01)),
    ),
    checkpoint=dict(interval=4, max_keep_ckpts=-1),
)
val_cfg = val_dataloader = val_evaluator = None
"""
GLOBAL, PER_RANK = "WeightedCrossEntropyLoss", "CrossEntropyLoss"
OF_LABELS = "terms=dict(target=dict(loss=loss)),"
# Heavy, so that it shows in eight steps.
OF_DISCRIMINATORS = """
    heads=dict(auxiliary=dict(norm_cfg=norm_cfg, dropout_ratio=0.0, loss_decode=loss)),
    terms=dict(adversarial=dict(weight=0.5), adversarial_auxiliary=dict(weight=0.5)),
"""


def write_config(folder, method, model, loss=GLOBAL):
    path = folder / f"{method}_{loss}.py"
    base = str(ROOT / f"configs/{method}/deeplabv3plus_scenes2scenes.py")
    path.write_text(CONFIG.format(base=base, model=model, loss=loss))
    return path


def train(work_dir, config, scenes_root, *, ranks):
    batch_size = f"train_dataloader.batch_size={4 // ranks}"
    command = ["tools/train.py", config, "--work-dir", work_dir, "--cfg-options", batch_size]
    run_ranks(command, scenes_root, ranks=ranks)
    return torch.load(work_dir / "iter_8.pth", weights_only=False)["state_dict"]


def largest_difference(first, second):
    assert first.keys() == second.keys()
    return max(
        (first[name] - second[name]).abs().max().item()
        for name in first
        if first[name].is_floating_point()
    )


@pytest.mark.slow
def test_two_ranks_train_to_the_weights_of_one(scenes_root, tmp_path):
    config = write_config(tmp_path, "mrkld", OF_LABELS)
    one = train(tmp_path / "one", config, scenes_root, ranks=1)
    two = train(tmp_path / "two", config, scenes_root, ranks=2)
    labels = [
        PseudoLabelArtifact(tmp_path / name / "pseudo_labels" / "round_1").read_manifest()
        for name in ("one", "two")
    ]
    assert labels[0].images.keys() == labels[1].images.keys()
    assert labels[0].coverage == pytest.approx(labels[1].coverage, abs=0.01)
    # Sums in another order: the same up to rounding.
    assert largest_difference(one, two) < 1e-4
    # And that is the doing of means over the pixels of all ranks.
    config = write_config(tmp_path, "mrkld", OF_LABELS, loss=PER_RANK)
    own = train(tmp_path / "own", config, scenes_root, ranks=2)
    assert largest_difference(one, own) > 10 * largest_difference(one, two)


@pytest.mark.slow
def test_two_ranks_train_discriminators_as_one_does(scenes_root, tmp_path):
    config = write_config(tmp_path, "adaptsegnet_multi", OF_DISCRIMINATORS)
    one, two = (
        train(tmp_path / f"ranks_{ranks}", config, scenes_root, ranks=ranks) for ranks in (1, 2)
    )
    assert any(name.startswith("discriminators.") for name in one)
    assert largest_difference(one, two) < 1e-4


KILL = """
import os, signal
from mmdrsl.pseudo_labels import PseudoLabelArtifact
proceed, written = PseudoLabelArtifact.write_image, []

def kill(artifact, image_id, *arguments):
    if len(written) == 2 and os.environ["RANK"] == "1":
        os.kill(os.getpid(), signal.SIGKILL)
    written.append(image_id)
    return proceed(artifact, image_id, *arguments)

PseudoLabelArtifact.write_image = kill
"""


@pytest.mark.slow
def test_two_ranks_resume_to_the_same_end(scenes_root, tmp_path):
    """Killed while both ranks label, then resumed."""
    config = write_config(tmp_path, "self_training", OF_LABELS)

    def command(name, *flags):
        begin = ["tools/train.py", config, "--work-dir", tmp_path / name, *flags]
        return [*begin, "--cfg-options", "train_dataloader.batch_size=2"]

    run_ranks(command("whole"), scenes_root)
    # The other rank waits for the killed one, or finds its connection closed.
    statuses = (None, -signal.SIGKILL)
    run_ranks(command("killed"), scenes_root, before=KILL, statuses=statuses, timeout=60)
    assert not (tmp_path / "killed" / "pseudo_labels" / "round_1" / "manifest.json").exists()
    run_ranks(command("killed", "--resume"), scenes_root)
    whole, killed = (
        torch.load(tmp_path / name / "iter_8.pth", weights_only=False)["state_dict"]
        for name in ("whole", "killed")
    )
    assert all(torch.equal(whole[name], killed[name]) for name in whole)


EVALUATED = """
_base_ = [{base!r}]
# Each rank takes the statistics of its own batches.
model = dict(bn_mode="joint")
train_cfg = dict(max_iters=6, val_interval=3)
default_hooks = dict(
    teacher=dict(begin=2),
    self_training=dict(
        warmup_iterations=2,
        rounds=[dict(iterations=2, portion=0.5, target_share=0.5)] * 2,
        labeler=dict(policy=dict(lowest_threshold=0.01)),
    ),
    checkpoint=dict(interval=1, max_keep_ckpts=-1),
)
"""


@pytest.mark.slow
def test_two_ranks_evaluate_as_one_model(scenes_root, tmp_path):
    config = tmp_path / "rounds.py"
    base = str(ROOT / "configs/self_training/deeplabv3plus_scenes2scenes.py")
    config.write_text(EVALUATED.format(base=base))
    command = ["tools/train.py", config, "--work-dir", tmp_path / "run"]
    run_ranks([*command, "--cfg-options", "train_dataloader.batch_size=2"], scenes_root)
    rounds = json.loads((tmp_path / "run/rounds.json").read_text())
    assert sorted(rounds) == ["0", "1", "2"]
    for entry in rounds.values():
        checkpoint = tmp_path / f"run/iter_{entry['iteration']}.pth"
        test = ["tools/test.py", config, checkpoint, "--work-dir", tmp_path / "test"]
        output = run_tool(test, scenes_root)
        for name in ("mIoU", "aAcc"):
            found = float(re.findall(rf"\b{name}: ([0-9.]+)", output)[-1])
            assert found == pytest.approx(entry["metrics"][name], abs=0.01)
