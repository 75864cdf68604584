"""The hook in a real run of a few steps on four small scenes."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.runner import Runner
from PIL import Image

from mmdrsl.engine.hooks import SelfTrainingHook
from mmdrsl.models.segmentors import UDASegmentor
from mmdrsl.scenes import write_scenes
from mmdrsl.self_training import PseudoLabelArtefact
from mmdrsl.self_training.label_analysis import label_quality

ROOT = Path(__file__).resolve().parents[2]
CONFIG = "configs/self_training/deeplabv3plus_scenes2scenes.py"


@pytest.fixture(scope="module")
def scenes_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("scenes") / "set"
    write_scenes(
        out_dir=root, seed=7, num_game=4, num_camera_train=3, num_camera_val=2, image_size=(128, 64)
    )
    return root


@pytest.fixture
def train(scenes_root, tmp_path, monkeypatch):
    monkeypatch.setenv("MMDRSL_SCENES", str(scenes_root))
    runs = []

    def call(work_dir=tmp_path / "run", config=CONFIG, resume=False, root=None, **options):
        if root is not None:
            monkeypatch.setenv("MMDRSL_SCENES", str(root))
        MMLogger._instance_dict.clear()
        runs.append(work_dir)
        cfg = Config.fromfile(str(ROOT / config))
        cfg.merge_from_dict(
            {
                "train_cfg.max_iters": 4,
                "train_cfg.val_interval": 4,
                "default_hooks.self_training.warmup_iterations": 1,
                "default_hooks.self_training.rounds": [
                    dict(iterations=1, portion=0.5, target_share=0.5),
                    dict(iterations=2, portion=0.5, target_share=0.5),
                ],
                "default_hooks.self_training.evaluate_rounds": False,
                "default_hooks.checkpoint.interval": 3,
                "default_hooks.checkpoint.max_keep_ckpts": -1,
                "train_dataloader.batch_size": 4,
                "work_dir": str(work_dir),
                "experiment_name": f"run_{len(runs)}_{abs(hash(str(work_dir)))}",
                "log_level": "ERROR",
                "resume": resume,
                "val_cfg": None,
                "val_dataloader": None,
                "val_evaluator": None,
                **options,
            }
        )
        if "default_hooks.self_training.labeller.policy" not in options:
            cfg.default_hooks.self_training.labeller = dict(
                cfg.default_hooks.self_training.get("labeller", {}),
                policy=dict(lowest_threshold=0.01),
            )
        hooks = cfg.default_hooks.items()
        cfg.default_hooks = {name: hook for name, hook in hooks if hook is not None}
        runner = Runner.from_cfg(cfg)
        runner.train()
        return runner

    return call


def weights(runner):
    return {name: value.clone() for name, value in runner.model.state_dict().items()}


def assert_equal(first, second):
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


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
    assert set(rounds["1"]["labels"]["scores"]) == {"entropy", "soft_neighbourhood_density"}
    assert set(rounds["2"]["labels"]["scores"]) == {
        "entropy", "soft_neighbourhood_density", "agreement",
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
    artefact = PseudoLabelArtefact(work_dir / "pseudo_labels" / "round_2")
    assert artefact.problems(artefact.read_manifest()) == []


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
        ({hook + "labeller.policy": dict(type="TwoHeadPolicy")}, "the model has the heads"),
        ({hook + "labeller.policy": dict(type="FixedConfidencePolicy")}, "leave it out"),
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
    analysed = train(
        tmp_path / "analysed",
        **{
            "default_hooks.self_training.analysis": True,
            "default_hooks.self_training.analysis_dataset": dict(dataset),
        },
    )
    assert_equal(weights(plain), weights(analysed))
    found = record(analysed)["2"]["analysis"]
    assert found["images"] == 3
    artefact = PseudoLabelArtefact(tmp_path / "analysed" / "pseudo_labels" / "round_2")
    classes = artefact.read_manifest().classes
    # Cityscapes' published ids of its nineteen classes, in their published order.
    used = [7, 8, 11, 12, 13, 17, *range(19, 29), 31, 32, 33]
    ids = dict(zip(classes, used, strict=True))
    assert (ids["road"], ids["car"], ids["bicycle"]) == (7, 26, 33)
    counts = {name: np.zeros(4) for name in classes}
    for image_id in artefact.read_manifest().images:
        labels = np.asarray(Image.open(artefact.label_path(image_id)))
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
            dict(iterations=2, target_share=0.5, labelled=False),
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


def statistics(work_dir, iteration):
    state = torch.load(work_dir / f"iter_{iteration}.pth", weights_only=False)["state_dict"]
    own = {name: value for name, value in state.items() if not name.startswith("teacher")}
    return {name: value for name, value in own.items() if "running_" in name}


def restart_from_the_warm_up(finished, work_dir):
    """A copy of a run of four steps that was cut off after the first."""
    shutil.copytree(finished, work_dir)
    for iteration in (2, 3, 4):
        (work_dir / f"iter_{iteration}.pth").unlink()
    (work_dir / "last_checkpoint").write_text(str(work_dir / "iter_1.pth"))
    shutil.rmtree(work_dir / "pseudo_labels")


def test_rounds_under_statistics_of_both_domains(train, tmp_path):
    options = {"model.normalisation": "frozen", "default_hooks.checkpoint.interval": 1}
    key = "default_hooks.normalisation.target_share"
    plain, mixed = tmp_path / "plain", tmp_path / "mixed"
    train(plain, **options, **{"default_hooks.normalisation": None})
    train(tmp_path / "target", **options)
    train(tmp_path / "quarter", **options, **{key: 0.25})
    whole = train(mixed, **options, **{key: 0.5})
    target, quarter, half = (
        statistics(tmp_path / name, 1) for name in ("target", "quarter", "mixed")
    )
    for name in (name for name in half if name.endswith("running_mean")):
        source = 2 * half[name] - target[name]
        assert not torch.allclose(source, target[name], atol=1e-3)
        torch.testing.assert_close(quarter[name], 0.75 * source + 0.25 * target[name])
        variance = name.replace("mean", "var")
        between = (source - target[name]) ** 2
        of_source = 2 * (half[variance] - between / 4) - target[variance]
        torch.testing.assert_close(
            quarter[variance], 0.75 * of_source + 0.25 * target[variance] + 0.1875 * between
        )
    # Round 1 is the second step, round 2 the others.
    for first, second, same in ((1, 2, False), (2, 3, True), (3, 4, False)):
        before, after = statistics(mixed, first), statistics(mixed, second)
        assert all(torch.equal(before[name], after[name]) == same for name in before)
    # From the checkpoint that has them already, and from one of a warm-up without the hook.
    for name, begin in (("resumed", mixed), ("shared", plain)):
        restart_from_the_warm_up(begin, tmp_path / name)
        resumed = train(tmp_path / name, resume=True, **options, **{key: 0.5})
        assert_equal(weights(whole), weights(resumed))


def test_target_statistics_mixed_into_running_ones(train, tmp_path):
    options = {"model.normalisation": "joint", "default_hooks.checkpoint.interval": 1}
    half = {
        "default_hooks.normalisation.target_share": 0.5,
        "default_hooks.normalisation.rest": "running",
    }
    plain, mixed = tmp_path / "plain", tmp_path / "mixed"
    train(plain, **options, **{"default_hooks.normalisation": None})
    train(tmp_path / "target", **options)
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


def test_frozen_statistics_are_not_mixed_into_themselves(train, tmp_path):
    options = {
        "model.normalisation": "frozen",
        "default_hooks.normalisation.target_share": 0.5,
        "default_hooks.normalisation.rest": "running",
    }
    with pytest.raises(ValueError, match="use rest='source'"):
        train(tmp_path / "run", **options)


def test_a_restart_brings_the_discriminators_of_the_warm_up_back(train, monkeypatch):
    seen = []
    proceed = SelfTrainingHook.before_train_iter

    def look(hook, runner, *arguments, **options):
        discriminators = runner.model.discriminators.state_dict()
        seen.append({name: value.clone() for name, value in discriminators.items()})
        proceed(hook, runner, *arguments, **options)

    monkeypatch.setattr(SelfTrainingHook, "before_train_iter", look)
    rounds = [
        dict(iterations=2, target_share=0.5),
        dict(iterations=1, target_share=0.5, restart=True),
    ]
    train(
        **{
            "config": "configs/adaptsegnet/deeplabv3plus_scenes2scenes.py",
            "default_hooks.teacher.begin": 1,
            "default_hooks.self_training.rounds": rounds,
        }
    )
    warm_up, first, second, restarted = seen
    # The warm-up has no target image to tell from the source; the rounds have.
    assert_equal(warm_up, first)
    assert all(not torch.equal(first[name], second[name]) for name in first)
    assert_equal(first, restarted)
