"""The hook in a real run of a few steps on four small scenes."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image
from short_runs import CONFIG, ROOT, assert_equal, weights

from mmdrsl.datasets.unlabeled import WHOLE_IMAGE_PIPELINE
from mmdrsl.engine.hooks.self_training_hook import SelfTrainingHook
from mmdrsl.models.segmentors.uda_segmentor import UDASegmentor
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


def test_damaged_labels_refuse_or_are_made_again(train, tmp_path):
    work_dir = tmp_path / "run"
    train(work_dir)
    label = damage(work_dir)
    with pytest.raises(ValueError, match="truncated or no PNG") as error:
        train(work_dir, resume=True)
    assert str(label) in str(error.value)
    train(work_dir, resume=True, **{"default_hooks.self_training.damaged": "remake"})
    artifact = PseudoLabelArtifact(work_dir / "pseudo_labels" / "round_2")
    assert artifact.problems(artifact.read_manifest()) == []


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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(label_with="nobody"), "'student' or 'teacher'"),
        (dict(damaged="ignore"), "'refuse' or 'remake'"),
        (dict(analysis=True), "needs analysis_dataset"),
    ],
)
def test_impossible_options(options, message):
    with pytest.raises(ValueError, match=message):
        SelfTrainingHook(rounds=[], warmup_iterations=0, **options)


def test_what_a_round_lacks_shows_before_the_warm_up(train):
    hook = "default_hooks.self_training."
    for options, message in (
        ({"default_hooks.teacher": None}, "has no teacher"),
        ({hook + "labeler.policy": dict(type="TwoHeadPolicy")}, "the model has the heads"),
        ({hook + "labeler.policy": dict(type="FixedConfidencePolicy")}, "leave it out"),
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


def test_a_round_without_labels(train, tmp_path):
    options = {
        "default_hooks.self_training.rounds": [
            dict(iterations=2, target_share=0.5, labeled=False),
            dict(iterations=1, portion=0.5, target_share=0.5),
        ]
    }
    work_dir = tmp_path / "whole"
    labels = {}
    step = UDASegmentor.loss

    def look(model, inputs, data_samples):
        labels[model.progress.round] = {
            int(sample.gt_sem_seg.data.min())
            for sample in data_samples
            if sample.metainfo["domain"] == "target"
        }
        return step(model, inputs, data_samples)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(UDASegmentor, "loss", look)
        whole = train(work_dir, **options)
    assert labels[0] == set()
    assert labels[1] == {255}
    assert min(labels[2]) < 19
    assert [path.name for path in (work_dir / "pseudo_labels").iterdir()] == ["round_2"]
    assert "labels" not in record(whole).get("1", {})
    # Interrupted in the round without labels, and at its end.
    for stop in (2, 3):
        parts = tmp_path / f"parts_{stop}"
        train(parts, **options, **{"default_hooks.checkpoint.interval": stop})
        (parts / "iter_4.pth").unlink()
        shutil.rmtree(parts / "pseudo_labels")
        (parts / "last_checkpoint").write_text(str(parts / f"iter_{stop}.pth"))
        resumed = train(
            parts, resume=True, **options, **{"default_hooks.checkpoint.interval": stop}
        )
        assert_equal(weights(whole), weights(resumed))


def test_a_restart_brings_the_discriminators_of_the_warm_up_back(train, monkeypatch):
    seen, teacher_steps = [], []
    proceed = SelfTrainingHook.before_train_iter

    def look(hook, runner, *arguments, **options):
        discriminators = runner.model.discriminators.state_dict()
        seen.append({name: value.clone() for name, value in discriminators.items()})
        teacher_steps.append(int(runner.model.teacher.steps))
        proceed(hook, runner, *arguments, **options)

    monkeypatch.setattr(SelfTrainingHook, "before_train_iter", look)
    rounds = [
        dict(iterations=2, target_share=0.5),
        dict(iterations=1, target_share=0.5, restart=True),
    ]
    train(
        **{
            "config": "configs/adaptsegnet/deeplabv3plus_scenes2scenes.py",
            "default_hooks.teacher.begin": 4,
            "default_hooks.self_training.rounds": rounds,
        }
    )
    # A restart does not begin the teacher before its step.
    assert teacher_steps == [0, 0, 0, 0]
    warm_up, first, second, restarted = seen
    # The warm-up has no target image to tell from the source; the rounds have.
    assert_equal(warm_up, first)
    assert all(not torch.equal(first[name], second[name]) for name in first)
    assert_equal(first, restarted)


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
        best = torch.load(path, weights_only=False)
        usual = torch.load(tmp_path / f"run/iter_{number}.pth", weights_only=False)
        assert best["meta"]["iter"] == usual["meta"]["iter"] == int(number)
        assert_equal(best["state_dict"], usual["state_dict"])
    # The end of the warm-up, after one step, is evaluated first.
    rounds = record(SimpleNamespace(work_dir=tmp_path / "run"))
    assert [rounds[number]["iteration"] for number in ("0", "1")] == [1, 2]


def test_metrics_before_a_restart_are_the_rounds_own(train, tmp_path):
    rounds = [
        dict(iterations=1, portion=0.5, target_share=0.5),
        dict(iterations=2, portion=0.5, target_share=0.5, restart=True),
    ]
    options = {
        "default_hooks.self_training.rounds": rounds,
        "optim_wrapper.optimizer.lr": 0.05,
        "param_scheduler": [],
    }
    found = []
    for interval in (1000, 2):
        runner = train(
            tmp_path / f"every_{interval}",
            **validated(**options, **{"train_cfg.val_interval": interval}),
        )
        found.append({name: entry["metrics"] for name, entry in record(runner).items()})
    assert found[0]["1"] == found[1]["1"] != found[1]["0"]


def test_rounds_are_evaluated_before_the_loop_begins_to(train, tmp_path):
    options = {"train_cfg.val_interval": 1, "train_cfg.val_begin": 4}
    runner = train(tmp_path / "run", **validated(**options))
    assert [entry["iteration"] for entry in record(runner).values()] == [1, 2, 4]


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
        train(tmp_path / "run", **options, **{"default_hooks.normalization": None})


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
