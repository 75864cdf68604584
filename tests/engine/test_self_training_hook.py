"""The hook in a real run of a few steps on four small scenes."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.runner import ValLoop
from PIL import Image
from short_runs import CONFIG, ROOT, assert_equal, weights

from mmdrsl.checkpoints import read_checkpoint
from mmdrsl.datasets.unlabeled import WHOLE_IMAGE_PIPELINE
from mmdrsl.engine.hooks import FiniteValuesHook, PreflightHook
from mmdrsl.engine.hooks.self_training_hook import SelfTrainingHook
from mmdrsl.pseudo_labels.artifact import PseudoLabelArtifact
from mmdrsl.pseudo_labels.label_analysis import label_quality


def record(runner):
    return json.loads((Path(runner.work_dir) / "rounds.json").read_text())


def damage(work_dir):
    """Truncate a label of round 2, in which the checkpoint of step 3 stands."""
    label = next((work_dir / "pseudo_labels" / "round_2" / "labels").rglob("*.png"))
    content = label.read_bytes()
    label.write_bytes(content[: len(content) // 2])
    (work_dir / "iter_4.pth").unlink()
    (work_dir / "last_checkpoint").write_text(str(work_dir / "iter_3.pth"))
    return label


def test_label_free_scores_are_kept_every_round(train):
    rounds = record(train())
    assert set(rounds["1"]["labels"]["scores"]) == {"entropy", "soft_neighborhood_density"}
    assert set(rounds["2"]["labels"]["scores"]) == {
        "entropy", "soft_neighborhood_density", "agreement",
    }  # fmt: skip
    assert 0 < rounds["2"]["labels"]["scores"]["agreement"] <= 1
    assert "analysis" not in rounds["1"]


def test_damaged_labels_are_refused(train, tmp_path):
    work_dir = tmp_path / "run"
    train(work_dir)
    label = damage(work_dir)
    with pytest.raises(ValueError, match="truncated or no PNG") as error:
        train(work_dir, resume=True)
    assert str(label) in str(error.value)


@pytest.mark.slow
def test_labels_of_another_model_refuse(train, tmp_path):
    work_dir = tmp_path / "run"
    train(work_dir)
    damage(work_dir)
    folder = work_dir / "pseudo_labels"
    shutil.rmtree(folder / "round_2")
    shutil.copytree(folder / "round_1", folder / "round_2")
    with pytest.raises(ValueError, match="made by another model"):
        train(work_dir, resume=True)


def test_self_training_hook_needs_two_domains():
    hook = SelfTrainingHook(rounds=[], warmup_iterations=4)
    loop = SimpleNamespace(max_iters=4)
    runner = SimpleNamespace(
        train_loop=loop,
        _train_loop=loop,
        train_dataloader=SimpleNamespace(dataset=[], sampler=()),
        model=SimpleNamespace(),
        hooks=[FiniteValuesHook(), PreflightHook()],
    )
    with pytest.raises(TypeError, match=r"TwoDomainDataset .* found list and tuple"):
        hook.before_run(runner)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(label_with="nobody"), "'student' or 'teacher'"),
        (dict(analysis=True), "needs analysis_dataset"),
        (dict(collapsed_labels="ignore"), "'warn' or 'stop', found 'ignore'"),
    ],
)
def test_impossible_options(options, message):
    with pytest.raises(ValueError, match=message):
        SelfTrainingHook(rounds=[], warmup_iterations=0, **options)


def test_what_a_round_lacks_shows_before_the_warm_up(train):
    hook = "default_hooks.self_training."
    for options, message in (
        (
            {"default_hooks.teacher": None},
            "label_with='teacher'.* from step 1 on, and there is none",
        ),
        ({"default_hooks.teacher.begin": 2}, "there is one that begins after step 2"),
        (
            {hook + "labeler.policy": dict(second_head="mmdl", second_weight=0.5)},
            "the model has the heads",
        ),
        ({hook + "rounds": [dict(iterations=3, target_share=0.5)]}, "A round's 'portion'"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            train(**options)


def test_target_labels_are_never_opened(train, scenes_root, tmp_path):
    """Without the labels of the target's training images, or with unreadable ones, a run is the same."""
    whole = weights(train(tmp_path / "whole"))
    folder = Path("camera") / "gtFine" / "train"
    files = list((scenes_root / folder).rglob("*.png"))
    assert len(files) >= 3
    removed = tmp_path / "removed_set"
    shutil.copytree(scenes_root, removed)
    shutil.rmtree(removed / folder)
    assert_equal(whole, weights(train(tmp_path / "removed", root=removed)))
    broken = tmp_path / "broken_set"
    shutil.copytree(scenes_root, broken)
    for file in (broken / folder).rglob("*.png"):
        # Opening a folder as a file fails for every user, root included.
        file.unlink()
        file.mkdir()
    assert_equal(whole, weights(train(tmp_path / "broken", root=broken)))


def test_analysis_reports_and_changes_nothing(train, scenes_root, tmp_path):
    plain = train(tmp_path / "plain")
    dataset = Config.fromfile(str(ROOT / CONFIG)).oracle_dataset
    analyzed = train(
        tmp_path / "analyzed",
        **{
            "default_hooks.self_training.analysis": True,
            "default_hooks.self_training.analysis_dataset": dict(dataset),
        },
    )
    assert_equal(weights(plain), weights(analyzed))
    found = record(analyzed)["2"]["analysis"]
    assert found["images"] == 3
    artifact = PseudoLabelArtifact(tmp_path / "analyzed" / "pseudo_labels" / "round_2")
    classes = artifact.read_manifest().classes
    # Cityscapes' published ids of its nineteen classes, in their published order.
    used = [7, 8, 11, 12, 13, 17, *range(19, 29), 31, 32, 33]
    ids = dict(zip(classes, used, strict=True))
    assert (ids["road"], ids["car"], ids["bicycle"]) == (7, 26, 33)
    counts = {name: np.zeros(4) for name in classes}
    for image_id in artifact.read_manifest().images:
        labels = np.asarray(Image.open(artifact.label_path(image_id)))
        name = image_id.replace("_leftImg8bit", "_gtFine_labelIds") + ".png"
        truth = np.asarray(Image.open(scenes_root / "camera" / "gtFine" / "train" / name))
        for wanted in counts:
            own, given = truth == ids[wanted], labels == classes.index(wanted)
            given &= np.isin(truth, used)
            counts[wanted] += [
                (own & given).sum(), given.sum(), (own & (labels != 255)).sum(), own.sum()
            ]  # fmt: skip
    assert any(given > 0 and total > 0 for _, given, _, total in counts.values())
    for wanted, (correct, given, kept, total) in counts.items():
        assert found["precision"][wanted] == (correct / given if given else None)
        assert found["coverage"][wanted] == (kept / total if total else None)


def test_analysis_by_other_images_is_refused_before_the_first_step(train, tmp_path):
    dataset = dict(Config.fromfile(str(ROOT / CONFIG)).oracle_dataset)
    dataset["data_prefix"] = dict(img_path="leftImg8bit/val", seg_map_path="gtFine/val")
    options = {"analysis": True, "analysis_dataset": dataset}
    with pytest.raises(ValueError, match=r"has none of them.*same data_root and split"):
        train(
            tmp_path,
            **{f"default_hooks.self_training.{key}": value for key, value in options.items()},
        )
    assert not list(tmp_path.glob("*.pth"))


def test_label_quality_by_hand():
    labels = np.array([[0, 0, 1, 255], [1, 255, 0, 1]])
    truth = np.array([[0, 1, 1, 1], [255, 0, 0, 0]])
    found = label_quality([(labels.astype(np.uint8), truth.astype(np.uint8))], ["a", "b", "c"])
    assert found["precision"] == dict(a=2 / 3, b=1 / 2, c=None, all=3 / 5)
    assert found["coverage"] == dict(a=3 / 4, b=2 / 3, c=None, all=5 / 7)


@pytest.mark.parametrize(
    "method", ["dacs", pytest.param("adaptsegnet_multi", marks=pytest.mark.slow)]
)
def test_online_rounds_make_no_labels(train, tmp_path, method):
    # Two target images per batch: batch norm on pooled features needs more than one.
    options = {
        "config": f"configs/{method}/deeplabv3plus_scenes2scenes.py",
        "train_dataloader.batch_size": 4,
        "default_hooks.teacher.begin": 0,
    }
    runner = train(tmp_path / "whole", **options)
    assert not (tmp_path / "whole" / "pseudo_labels").exists()
    assert runner.model.teacher.steps == 4
    parts = tmp_path / "parts"
    train(parts, **options)
    (parts / "iter_4.pth").unlink()
    (parts / "last_checkpoint").write_text(str(parts / "iter_3.pth"))
    assert_equal(weights(runner), weights(train(parts, resume=True, **options)))


EVALUATED = {
    "val_cfg": dict(type="ValLoop"),
    "default_hooks.self_training.evaluate_rounds": True,
}


def validated(**options):
    """Options that bring the validation of the config back."""
    cfg = Config.fromfile(str(ROOT / CONFIG))
    parts = {key: cfg[key].to_dict() for key in ("val_dataloader",)}
    return {**EVALUATED, **parts, "val_evaluator": cfg.val_evaluator, **options}


def test_the_best_checkpoint_is_that_of_its_step(train, tmp_path):
    checkpoint = "default_hooks.checkpoint."
    options = {f"{checkpoint}save_best": "mIoU", f"{checkpoint}rule": "greater"}
    options |= {f"{checkpoint}interval": 1, "train_cfg.val_interval": 1000}
    train(tmp_path / "run", **validated(**options))
    found = list((tmp_path / "run").glob("best_mIoU_iter_*.pth"))
    assert found
    for path in found:
        number = path.stem.split("_")[-1]
        best = read_checkpoint(path)
        usual = read_checkpoint(tmp_path / f"run/iter_{number}.pth")
        assert best["meta"]["iter"] == usual["meta"]["iter"] == int(number)
        assert_equal(best["state_dict"], usual["state_dict"])
    # The end of the warm-up, after one step, is evaluated first.
    rounds = record(SimpleNamespace(work_dir=tmp_path / "run"))
    assert [rounds[number]["iteration"] for number in ("0", "1")] == [1, 2]


@pytest.mark.parametrize(("interval", "begin"), [(1, 4), (2, 1)])
def test_every_round_is_evaluated_once(train, tmp_path, monkeypatch, interval, begin):
    """Before the loop begins to, and where the loop does it by itself."""
    evaluated, evaluate = [], ValLoop.run
    monkeypatch.setattr(
        ValLoop, "run", lambda loop: (evaluated.append(loop.runner.iter), evaluate(loop))[1]
    )
    options = {"train_cfg.val_interval": interval, "train_cfg.val_begin": begin}
    runner = train(tmp_path / "run", **validated(**options))
    assert [entry["iteration"] for entry in record(runner).values()] == evaluated == [1, 2, 4]


def test_a_test_alone_has_no_rounds(train, build, tmp_path):
    trained = train(tmp_path / "run")
    runner = build(tmp_path / "test", load_from=str(tmp_path / "run/iter_4.pth"))
    assert "mIoU" in runner.test()
    assert runner.model.phases == ()
    assert_equal(weights(trained), weights(runner))
    assert not (tmp_path / "test/rounds.json").exists()
    # A validation alone, a config for testing alone, and a test after a training in the same process.
    options = validated(load_from=str(tmp_path / "run/iter_4.pth"))
    assert "mIoU" in build(tmp_path / "val", **options).val()
    assert not (tmp_path / "val/rounds.json").exists()
    parts = dict(train_cfg=None, train_dataloader=None, optim_wrapper=None, param_scheduler=None)
    alone = build(tmp_path / "alone", load_from=str(tmp_path / "run/iter_4.pth"), **parts)
    assert alone.test()["mIoU"] == trained.test()["mIoU"]


def test_a_finished_run_needs_no_labels(train, tmp_path):
    work_dir = tmp_path / "run"
    first = train(work_dir, **{"default_hooks.checkpoint.interval": 4})
    shutil.rmtree(work_dir / "pseudo_labels")
    again = train(work_dir, resume=True, **{"default_hooks.checkpoint.interval": 4})
    assert_equal(weights(first), weights(again))


def test_a_target_of_several_datasets_is_refused(train, tmp_path):
    target = Config.fromfile(str(ROOT / CONFIG)).train_dataloader.dataset.target.to_dict()
    both = dict(type="ConcatDataset", datasets=[target, target])
    options = {"train_dataloader.dataset.target": dict(both, _delete_=True)}
    with pytest.raises(TypeError, match="target is a ConcatDataset, expected an UnlabelledDataset"):
        train(tmp_path / "run", **options, **{"default_hooks.adabn": None})


def test_skipping_steps_is_refused(train, tmp_path):
    with pytest.raises(ValueError, match="fast_forward_on_resume=True would skip"):
        train(tmp_path / "run", **{"train_cfg.fast_forward_on_resume": True})


@pytest.mark.parametrize("change", ["pipeline", pytest.param("test_cfg", marks=pytest.mark.slow)])
def test_labels_of_another_pipeline_are_made_anew(train, tmp_path, change):
    changes = {
        "pipeline": {
            "default_hooks.self_training.pipeline": [
                dict(type="LoadImage"),
                dict(type="Resize", scale_factor=0.5),
                WHOLE_IMAGE_PIPELINE[-1],
            ]
        },
        "test_cfg": {
            "model.segmentor.test_cfg": dict(mode="slide", crop_size=(64, 64), stride=(32, 32))
        },
    }[change]
    train(tmp_path / "twice")
    again = record(train(tmp_path / "twice", **changes))
    fresh = record(train(tmp_path / "fresh", **changes))
    assert again["1"]["labels"] == fresh["1"]["labels"]
    assert again["2"]["labels"] == fresh["2"]["labels"]


def test_labels_that_collapse_are_said_by_name_and_may_end_the_run(train, tmp_path):
    """After one step no class is as sure as this threshold wants it."""
    policy = {"default_hooks.self_training.labeler.policy": dict(lowest_threshold=0.94)}
    runner = train(tmp_path / "warned", **policy, log_level="WARNING")
    assert record(runner)["1"]["labels"]["coverage"] == 0
    (log,) = (tmp_path / "warned").rglob("*.log")
    (said,) = [line for line in log.read_text().splitlines() if "Round 1 lacks labels" in line]
    assert "WARNING" in said
    assert "0.00% of the pixels have a label, the portion is 50%" in said
    # The game has roads and no trains.
    names = said.partition("have no label: ")[2].rstrip(".").split(", ")
    assert "road" in names
    assert "train" not in names
    assert f"{len(names)} of {len(names)} classes of the source" in said
    with pytest.raises(ValueError, match=r"Round 1 lacks labels.* longer warm-up"):
        train(
            tmp_path / "ended", **policy, **{"default_hooks.self_training.collapsed_labels": "stop"}
        )
    assert not (tmp_path / "ended" / "iter_3.pth").exists()
