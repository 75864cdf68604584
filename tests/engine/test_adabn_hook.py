"""Statistics of the target in rounds, in real runs of a few steps."""

import shutil

import pytest
import torch
from mmengine.config import Config
from short_runs import CONFIG, ROOT, assert_equal, weights

from mmdrsl.checkpoints import read_checkpoint
from mmdrsl.engine.hooks import AdaBNHook


def statistics(work_dir, iteration, *, teacher=False):
    state = read_checkpoint(work_dir / f"iter_{iteration}.pth")["state_dict"]
    own = {name: value for name, value in state.items() if teacher or "teacher." not in name}
    return {name: value for name, value in own.items() if "running_" in name}


# Runs of which the student's statistics after the warm-up of one step are looked at.
SHORT = {
    "train_cfg.max_iters": 2,
    "default_hooks.self_training.rounds": [dict(iterations=1, portion=0.5, target_share=0.5)],
}


def restart_from_the_warm_up(finished, work_dir):
    """A copy of a run that was cut off after the first step."""
    shutil.copytree(finished, work_dir)
    for iteration in (2, 3, 4):
        (work_dir / f"iter_{iteration}.pth").unlink(missing_ok=True)
    (work_dir / "last_checkpoint").write_text(str(work_dir / "iter_1.pth"))
    shutil.rmtree(work_dir / "pseudo_labels", ignore_errors=True)


def test_rounds_under_frozen_statistics_of_the_target(train, tmp_path):
    options = {"model.bn_mode": "frozen", "default_hooks.checkpoint.interval": 1}
    plain, taken = tmp_path / "plain", tmp_path / "taken"
    train(plain, **options, **SHORT, **{"default_hooks.adabn": None})
    whole = train(taken, **options)
    source, target = statistics(plain, 1), statistics(taken, 1)
    for name in (name for name in source if name.endswith("running_mean")):
        assert not torch.allclose(source[name], target[name], atol=1e-3)
    # Round 1 is the second step, round 2 the others.
    for first, second, same in ((1, 2, False), (2, 3, True), (3, 4, False)):
        before, after = statistics(taken, first), statistics(taken, second)
        assert all(torch.equal(before[name], after[name]) == same for name in before)
    # From the checkpoint that has them already, and from one of a warm-up without the hook.
    for name, begin in (("resumed", taken), ("shared", plain)):
        restart_from_the_warm_up(begin, tmp_path / name)
        resumed = train(tmp_path / name, resume=True, **options)
        assert_equal(weights(whole), weights(resumed))


def test_target_statistics_mixed_into_running_ones(train, tmp_path):
    options = {
        "model.bn_mode": "joint",
        "default_hooks.checkpoint.interval": 1,
        "default_hooks.teacher.evaluate": False,
    }
    half = {
        "default_hooks.adabn.target_weight": 0.5,
    }
    plain, mixed = tmp_path / "plain", tmp_path / "mixed"
    train(plain, **options, **SHORT, **{"default_hooks.adabn": None})
    train(tmp_path / "target", **options, **SHORT)
    whole = train(mixed, **options, **half)
    running, target, found = (
        statistics(tmp_path / name, 1) for name in ("plain", "target", "mixed")
    )
    for name in (name for name in found if name.endswith("running_mean")):
        torch.testing.assert_close(found[name], (running[name] + target[name]) / 2)
        variance = name.replace("mean", "var")
        between = (running[name] - target[name]) ** 2 / 4
        torch.testing.assert_close(
            found[variance], (running[variance] + target[variance]) / 2 + between
        )
    # A checkpoint that holds the mixture is not mixed again; one of a run without the hook is.
    for name, begin in (("resumed", mixed), ("shared", plain)):
        restart_from_the_warm_up(begin, tmp_path / name)
        resumed = train(tmp_path / name, resume=True, **options, **half)
        assert_equal(weights(whole), weights(resumed))
        assert_equal(statistics(mixed, 4), statistics(tmp_path / name, 4))


def test_statistics_of_images_as_they_are_labeled(train, tmp_path):
    pipeline = [
        dict(type="LoadImage"),
        dict(type="Resize", scale=(64, 32), keep_ratio=True),
        dict(type="PackSegInputs", meta_keys=("img_path", "ori_shape", "img_shape")),
    ]
    options = {
        "default_hooks.checkpoint.interval": 1,
        "default_hooks.teacher.evaluate": False,
        **SHORT,
    }
    train(tmp_path / "whole", **options)
    train(tmp_path / "small", **options, **{"default_hooks.adabn.pipeline": pipeline})
    whole, small = (statistics(tmp_path / name, 1) for name in ("whole", "small"))
    assert not any(torch.equal(whole[name], small[name]) for name in whole)


def test_no_statistics_are_taken_before_evaluations_begin(train, tmp_path):
    cfg = Config.fromfile(str(ROOT / CONFIG))
    options = {key: cfg[key] for key in ("val_cfg", "val_dataloader", "val_evaluator")} | {
        "model.bn_mode": "joint",
        "default_hooks.checkpoint.interval": 1,
        "default_hooks.self_training.rounds": [dict(iterations=3, target_share=0.5)],
        "default_hooks.self_training.online": True,
        "train_cfg.val_interval": 1,
        "train_cfg.val_begin": 3,
        "default_hooks.teacher.evaluate": False,
    }
    share = {
        "default_hooks.adabn.target_weight": 0.5,
    }
    train(tmp_path / "taken", **options, **share)
    train(tmp_path / "plain", **options, **{"default_hooks.adabn": None})
    # After the first step the round begins.
    for iteration, same in ((1, False), (2, True), (3, False)):
        taken, plain = (statistics(tmp_path / name, iteration) for name in ("taken", "plain"))
        means = [name for name in taken if name.endswith("running_mean")]
        assert all(torch.equal(taken[name], plain[name]) for name in means) == same


def test_no_mixture_enters_the_next_one(train, tmp_path):
    rounds = [dict(iterations=1, target_share=0.5)] * 3
    options = {
        "model.bn_mode": "joint",
        "default_hooks.checkpoint.interval": 1,
        # Without labels no weight depends on the statistics of prediction.
        "default_hooks.self_training.rounds": rounds,
        "default_hooks.self_training.online": True,
        "default_hooks.teacher.begin": 0,
        "default_hooks.teacher.average.momentum": 0.01,
    }
    share = {
        "default_hooks.adabn.target_weight": 0.5,
    }
    plain, mixed = tmp_path / "plain", tmp_path / "mixed"
    train(plain, **options, **{"default_hooks.adabn": None})
    train(tmp_path / "target", **options)
    whole = train(mixed, **options, **share)
    # The fourth mixture, of student and teacher.
    running, target, found = (
        statistics(tmp_path / name, 4, teacher=True) for name in ("plain", "target", "mixed")
    )
    means = [name for name in found if name.endswith("running_mean")]
    assert any(name.startswith("teacher.") for name in means)
    for name in means:
        assert not torch.allclose(running[name], target[name], atol=1e-3)
        torch.testing.assert_close(found[name], (running[name] + target[name]) / 2)
    restart_from_the_warm_up(mixed, tmp_path / "resumed")
    resumed = train(tmp_path / "resumed", resume=True, **options, **share)
    assert_equal(weights(whole), weights(resumed))
    assert_equal(found, statistics(tmp_path / "resumed", 4, teacher=True))


def test_frozen_statistics_are_not_mixed_into_themselves(train, tmp_path):
    options = {
        "model.bn_mode": "frozen",
        "default_hooks.adabn.target_weight": 0.5,
    }
    with pytest.raises(ValueError, match="use target_weight=1"):
        train(tmp_path / "run", **options)


@pytest.mark.parametrize("warmup_iterations", [0, 1])
def test_layers_that_the_model_freezes_keep_their_statistics(train, tmp_path, warmup_iterations):
    rounds = [dict(iterations=4 - warmup_iterations, portion=0.5, target_share=0.5)]
    options = {
        "model.segmentor.backbone.norm_eval": True,
        "default_hooks.self_training.warmup_iterations": warmup_iterations,
        "default_hooks.self_training.rounds": rounds,
    }
    state = weights(train(tmp_path / "run", **options))
    # The teacher has not begun.
    own = (name for name in state if not name.startswith("teacher."))
    names = [name for name in own if name.endswith("running_mean")]
    frozen = {name for name in names if (state[name] == 0).all()}
    assert frozen == {name for name in names if ".backbone." in name}


def test_a_single_target_image_is_refused_before_the_first_step(train, tmp_path):
    options = {"train_dataloader.dataset.target.indices": 1}
    with pytest.raises(ValueError, match="the target has 1 image: statistics"):
        train(tmp_path / "run", **options)
    assert not list((tmp_path / "run").glob("*.pth"))


@pytest.mark.parametrize(
    ("change", "student_at_the_round"),
    [
        ({}, False),
        ({"default_hooks.self_training.label_with": "student"}, True),
        ({"default_hooks.teacher.evaluate": False}, True),
        ({"model.bn_mode": "frozen"}, True),
    ],
)
def test_a_student_that_nobody_reads_waits_for_the_end(
    train, tmp_path, monkeypatch, change, student_at_the_round
):
    taken = []

    def take(hook, runner, model, networks):
        of_teacher = networks is model.teacher.module
        taken.append((runner.iter + 1, "teacher" if of_teacher else "student"))

    monkeypatch.setattr(AdaBNHook, "_take", take)
    train(tmp_path / "run", **change)
    rounds = [*([(1, "student")] if student_at_the_round else []), (1, "teacher")]
    assert [entry for entry in taken if entry[0] == 1] == rounds
    assert [entry for entry in taken if entry[0] == 4] == [(4, "student"), (4, "teacher")]
