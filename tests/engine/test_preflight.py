"""What a run shows before its first step, and that it is the same run afterwards."""

from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from short_runs import CONFIG, ROOT, assert_equal, weights

from mmdrsl.datasets.samplers.two_domain_sampler import TwoDomainSampler
from mmdrsl.engine import preflight
from mmdrsl.engine.batch_mixtures import compositions
from mmdrsl.engine.preflight import PreflightError, trial
from mmdrsl.pseudo_labels.artifact import PseudoLabelArtifact

HOOK = "default_hooks.self_training."
SWITCH = "default_hooks.preflight.enabled"
DRSL = "configs/drsl/deeplabv3plus_scenes2scenes.py"


def rounds(*shares, iterations=1):
    return [dict(iterations=iterations, portion=0.5, target_share=share) for share in shares]


def validation(**changes):
    """Options that bring the validation of the config back."""
    cfg = Config.fromfile(str(ROOT / CONFIG))
    parts = {key: cfg[key].to_dict() for key in ("val_dataloader", "val_evaluator", "val_cfg")}
    return {**parts, **changes}


def log_of(work_dir):
    return "\n".join(path.read_text() for path in sorted(Path(work_dir).rglob("*.log")))


def manifest_of(work_dir, number):
    return PseudoLabelArtifact(work_dir / "pseudo_labels" / f"round_{number}").read_manifest()


@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_run_that_follows_is_the_run_without_it(train, tmp_path, num_workers):
    """DRSL draws in every step, from streams that nothing seeds anew here, and labels with its teacher."""
    options = {
        "config": DRSL,
        "default_hooks.step_seed": None,
        "default_hooks.modes": None,
        "train_dataloader.num_workers": num_workers,
        **validation(),
    }
    tried = train(tmp_path / "tried", **options, log_level="INFO")
    plain = train(tmp_path / "plain", **options, **{SWITCH: False})
    assert_equal(weights(plain), weights(tried))
    assert manifest_of(tmp_path / "plain", 2) == manifest_of(tmp_path / "tried", 2)
    said = log_of(tmp_path / "tried")
    assert "a step of the warm-up on 4 source and 0 target images" in said
    assert "a step of round 1 on 2 source and 2 target images" in said
    assert "round 2 on" not in said
    assert {path.name for path in (tmp_path / "tried" / "pseudo_labels").iterdir()} == {
        "round_1", "round_2"
    }  # fmt: skip


def test_a_run_that_recomputes_activations(train, tmp_path):
    """MMEngine's switch binds a module's forward pass to the module, not to a copy of it."""
    options = {"activation_checkpointing": ["segmentor.backbone.layer3"]}
    tried = train(tmp_path / "tried", **options)
    plain = train(tmp_path / "plain", **options, **{SWITCH: False})
    assert_equal(weights(plain), weights(tried))


def test_one_image_of_a_domain_under_batch_norm(build, tmp_path):
    runner = build(tmp_path, **{HOOK + "rounds": rounds(0.25, iterations=3)})
    with pytest.raises(ValueError, match="round 1 on 3 source and 1 target images") as error:
        runner.train()
    assert runner.iter == 0
    for part in ("batch_size=4", "target_share=0.25 of round 1", "bn_mode='domain_specific'"):
        assert part in str(error.value)
    # Nothing of the trial stays.
    assert not list(tmp_path.rglob("*.png"))
    assert not list(tmp_path.glob("*.pth"))


def test_an_uneven_share_is_tried_in_both_of_its_batches(train, tmp_path):
    """0.375 of four images are one or two: only one of the two compositions fails."""
    with pytest.raises(PreflightError, match="on 3 source and 1 target images"):
        train(tmp_path, **{HOOK + "rounds": rounds(0.375, iterations=3)})


@pytest.mark.parametrize(
    ("options", "messages"),
    [
        (
            {"model.terms.target.loss.class_weight": [1.0, 2.0]},
            ["step of round 1", "class_weight has another length than the classes"],
        ),
        (
            lambda: validation(**{
                "val_dataloader.dataset.pipeline": [dict(type="LoadImage"), dict(type="PackSegInputs")]
            }),
            ["a step of the validation failed", "val_dataloader"],
        ),
        (lambda: validation(**{"val_evaluator.group_pattern": "^(tunnel)_"}), ["does not match group_pattern"]),
        ({"train_cfg": dict(type="EpochBasedTrainLoop", max_epochs=1, _delete_=True)},
         ["EpochBasedTrainLoop", "type='IterBasedTrainLoop'"]),
        ({HOOK + "labeler.test_cfg": dict(mode="slide", stride=(8, 8))}, ["what SelfTrainingHook does failed"]),
    ],
    ids=["class_weight", "pipeline", "group_pattern", "epochs", "labeler"],
)  # fmt: skip
def test_what_would_fail_later_fails_before_the_first_step(build, tmp_path, options, messages):
    runner = build(tmp_path, **(options() if callable(options) else options))
    with pytest.raises((ValueError, TypeError)) as error:
        runner.train()
    for message in messages:
        assert message in str(error.value)
    assert not list(tmp_path.glob("*.pth"))


def test_a_label_folder_that_cannot_be_written(build, tmp_path):
    runner = build(tmp_path)
    (tmp_path / "pseudo_labels").write_text("a file")
    with pytest.raises((OSError, PreflightError), match="pseudo_labels"):
        runner.train()
    assert runner.iter == 0


ENTROPY = {"model.terms": dict(
    source=dict(type="SegmentationTerm", domain="source"),
    entropy=dict(type="EntropyTerm", weight=1e-3), _delete_=True,
)}  # fmt: skip


def test_a_term_on_a_target_that_is_never_drawn(train, tmp_path):
    options = {f"default_hooks.{name}": None for name in ("self_training", "teacher", "adabn")}
    for changes in (options, {HOOK + "rounds": [], HOOK + "warmup_iterations": 4}):
        with pytest.raises(ValueError, match=r"the terms \['entropy'\] would never act"):
            train(tmp_path, **ENTROPY, **changes)
    # Without such a term it is what it says.
    terms = dict(source=dict(type="SegmentationTerm", domain="source"), _delete_=True)
    train(tmp_path / "source", **options, log_level="WARNING", **{"model.terms": terms})
    assert "train_dataloader.dataset.target never takes part" in log_of(tmp_path / "source")


def test_terms_without_weight_and_measures_without_data(train, tmp_path):
    train(
        tmp_path,
        config=DRSL,
        log_level="WARNING",
        **{
            "model.terms.metric.weight": 0.0,
            # Of the first adaptation step alone is the ramp 0.
            HOOK + "warmup_iterations": 3,
            HOOK + "rounds": rounds(0.5),
            "default_hooks.modes": None,
            "default_hooks.checkpoint.save_best": "mIoU",
            "default_hooks.checkpoint.rule": "greater",
        },
    )
    said = log_of(tmp_path)
    for name in ("model.terms.metric", "model.terms.alignment", "save_best=['mIoU']"):
        assert f"{name} never takes part" in said
    assert "model.terms.target" not in said


def test_a_term_that_needs_both_domains_in_batches_of_one(train, tmp_path):
    said = tmp_path / "run"
    with pytest.raises(PreflightError, match="batch_size=1"):
        train(said, config=DRSL, log_level="WARNING", **{
            "train_dataloader.batch_size": 1, "default_hooks.modes": None,
        })  # fmt: skip
    assert "model.terms.alignment never takes part: it needs batches with source and target" in (
        log_of(said)
    )


def test_a_resumed_run_repeats_only_what_was_not_tried(train, tmp_path):
    train(tmp_path, log_level="INFO")
    (tmp_path / "iter_4.pth").unlink()
    (tmp_path / "last_checkpoint").write_text(str(tmp_path / "iter_3.pth"))
    train(tmp_path, log_level="INFO", resume=True)
    assert log_of(tmp_path).count("Preflight passed") == 1
    (tmp_path / "iter_4.pth").unlink()
    (tmp_path / "last_checkpoint").write_text(str(tmp_path / "iter_3.pth"))
    train(tmp_path, log_level="INFO", resume=True, **{"train_dataloader.batch_size": 8})
    assert log_of(tmp_path).count("Preflight passed") == 2


def without_hooks(**options):
    """Options of a training on the source, without the hooks of the runtime; MMEngine changes those it is given."""
    return {
        "default_hooks": dict(_delete_=True),
        "model.terms": dict(source=dict(type="SegmentationTerm", domain="source"), _delete_=True),
        **options,
    }


def test_a_config_without_the_hooks_of_the_runtime_has_the_checks(build, train, tmp_path):
    runner = build(tmp_path / "one", **without_hooks(), **{"train_dataloader.batch_size": 1})
    kinds = [type(hook).__name__ for hook in runner.hooks]
    for kind in ("ClassNamesHook", "FiniteValuesHook", "PreflightHook"):
        assert kinds.count(kind) == 1
    with pytest.raises(PreflightError, match="the warm-up on 1 source and 0 target images"):
        runner.train()
    with pytest.raises(FloatingPointError, match=r"source\.loss_ce is nan"):
        train(tmp_path / "lost", **without_hooks(), **{"optim_wrapper.optimizer.lr": 1e30})


def test_memory_of_the_device_says_so():
    message = r"the step ran out of GPU memory: .*batch_size"
    with pytest.raises(PreflightError, match=message) as error, trial("the step", "the keys"):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
    assert "default_hooks.preflight.enabled=False" in str(error.value)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_copy_leaves_the_device_before_the_first_step(build, tmp_path, monkeypatch):
    from mmdrsl.engine.hooks import preflight_hook

    used, run = [], preflight_hook.run_preflight

    def watched(runner):
        used.append(torch.cuda.memory_allocated())
        run(runner)
        used.append(torch.cuda.memory_allocated())

    monkeypatch.setattr(preflight_hook, "run_preflight", watched)
    build(tmp_path).train()
    assert used[0] == used[1]


@pytest.mark.parametrize("share", [0.0, 0.25, 0.375, 0.5, 1 / 3, 0.999, 1.0])
@pytest.mark.parametrize("batch_size", [1, 4, 5])
def test_compositions_are_those_of_the_sampler(share, batch_size):
    data = SimpleNamespace(domains=dict(source=range(7), target=range(5)))
    sampler = TwoDomainSampler(data, seed=0)
    sampler.begin_phase(phase=1, first_position=0, target_share=share)
    stream = list(islice(iter(sampler), 1200 * batch_size))
    found = {}
    for number in range(1200):
        batch = stream[number * batch_size : (number + 1) * batch_size]
        found.setdefault(sum(sample.domain == "target" for sample in batch), number)
    assert compositions(share, batch_size, 1200) == found
    assert compositions(share, batch_size, 1) == {min(found, key=found.get): 0}


def test_a_schedule_that_a_checkpoint_ends_earlier_is_said(train, tmp_path):
    options = {
        "param_scheduler": [dict(type="PolyLR", power=1.0, by_epoch=False)],
        "default_hooks.checkpoint.interval": 1,
        "log_level": "WARNING",
    }

    def length(steps):
        shares = [0.5] * (steps // 2)
        return {"train_cfg.max_iters": steps, HOOK + "rounds": rounds(*shares, iterations=2)}

    said = "The PolyLR of the checkpoint ends at 3, that of the config at {}"
    train(tmp_path / "run", **options, **length(3))
    assert said.format(3) not in log_of(tmp_path / "run")
    runner = train(tmp_path / "run", **options, **length(5), resume=True)
    assert said.format(5) in log_of(tmp_path / "run")
    # It is so: the rate of the third step, the smallest, is that of the fifth.
    assert runner.optim_wrapper.get_lr()["lr"][-1] == pytest.approx(0, abs=1e-12)


def test_images_are_predicted_as_they_will_be_for_labels(train, tmp_path, monkeypatch):
    pipeline = [
        dict(type="LoadImage"),
        dict(type="Resize", scale=(96, 48)),
        dict(type="PackSegInputs", meta_keys=("img_path", "ori_shape", "img_shape", "sample_id")),
    ]
    sizes = []
    original = preflight.pseudo_collate

    def noted(samples):
        sizes.extend(sample["inputs"].shape[1:] for sample in samples)
        return original(samples)

    monkeypatch.setattr(preflight, "pseudo_collate", noted)
    train(tmp_path / "run", **{"default_hooks.self_training.pipeline": pipeline})
    assert sizes == [(48, 96)]
