"""Runs of the real configs: what is equal for all methods, what tricks and options do, what a run's hash holds."""

import copy
import dataclasses
import json

import pytest
from benchmark_data import write_benchmark

from mmdrsl.benchmark.execution import Execution, row_of_plan
from mmdrsl.benchmark.jobs import run_jobs
from mmdrsl.benchmark.methods import is_translated
from mmdrsl.benchmark.plan import CONFIGS, plan_runs
from mmdrsl.benchmark.processes import Processes, StoppedError
from mmdrsl.benchmark.protocol import check_equal, protocol_of
from mmdrsl.benchmark.results import check_comparable
from mmdrsl.benchmark.training_run import ROOT
from mmdrsl.benchmark.tricks import TRICKS, check_tricks, labels_rounds, needs_teacher
from mmdrsl.benchmark.warmup import warmup_iterations
from mmdrsl.engine.launch import read_config


def labeling(runs):
    """Methods that label target images where rounds begin."""
    return {name for name, run in runs.items() if labels_rounds(run.training.cfg)}


def predicts_under(run):
    """Weight of the target in the statistics that the evaluation of a run takes."""
    hooks = run.evaluation.get("custom_hooks", ())
    return [hook.target_weight for hook in hooks if hook.type == "TestTimeBNHook"]


def test_the_usual_table_is_equal_for_all_methods(usual):
    assert list(usual)[:2] == ["source_only", "oracle"]
    assert list(usual)[2:] == sorted(list(usual)[2:])
    assert len({run.title for run in usual.values()}) == len(usual)
    source = usual["source_only"].training.cfg
    for run in usual.values():
        protocol = run.protocol
        assert (protocol["steps"], protocol["warmup_steps"]) == (900, 600)
        assert (protocol["images_per_step"], protocol["network"]) == (4, "student")
        assert (protocol["crop"], protocol["initial_weights"]) == ([[192, 256]], "scratch")
        cfg = run.training.cfg
        assert cfg.randomness.seed == 3
        # Nothing looks at labels of the target while a run trains.
        assert cfg.val_dataloader is None
        assert "analysis_dataset" not in cfg.default_hooks.get("self_training", {})
        teacher = cfg.default_hooks.get("teacher")
        assert (teacher is not None) == needs_teacher(cfg)
        if teacher is not None:
            assert (teacher.begin, teacher.evaluate) == (600, False)
        rounds = cfg.default_hooks.get("self_training")
        if rounds is not None:
            assert [entry.iterations for entry in rounds.rounds] == [150, 150]
            assert rounds.label_with == "student"
        assert cfg.model.segmentor == source.model.segmentor
        assert cfg.optim_wrapper.optimizer == source.optim_wrapper.optimizer
        assert cfg.param_scheduler == source.param_scheduler
    assert needs_teacher(usual["dacs"].training.cfg)
    # DRSL's labels come from both of its heads; all else about labels is equal.
    found = labeling(usual)
    assert {"drsl", "self_training"} <= found
    (common,) = {usual[name].protocol["labels"] for name in found - {"drsl"}}
    assert usual["drsl"].protocol["labels"] == f"{common}, weight 0.5 of the head 'mmdl'"
    for name in set(usual) - found:
        has_teacher = needs_teacher(usual[name].training.cfg)
        expected = "every batch, by the teacher" if has_teacher else "none"
        assert usual[name].protocol["labels"] == expected


def test_protocol_says_how_two_domains_are_normalized(usual):
    said = [usual[name].protocol["bn_mode"] for name in ("source_only", "drsl", "adaptsegnet")]
    assert said == [None, "joint", "frozen"]
    cfg = usual["adaptsegnet"].training.cfg
    assert cfg.model.bn_mode == "frozen"
    cfg = copy.deepcopy(cfg)
    cfg.default_hooks.adabn = dict(type="AdaBNHook", target_weight=0.5)
    found = protocol_of(cfg, initial_weights="scratch")["bn_mode"]
    assert found == "frozen, statistics with weight 0.5 of the target, the rest as they were"
    del cfg.default_hooks.adabn.target_weight
    found = protocol_of(cfg, initial_weights="scratch")["bn_mode"]
    assert found == "frozen, statistics with weight 1.0 of the target"


def test_evaluation_is_of_the_last_iterate_on_the_chosen_set(usual, benchmark_root):
    run = usual["drsl"]
    dataset = run.evaluation.test_dataloader.dataset
    assert (dataset.data_root, dataset.ann_file) == (str(benchmark_root / "camvid"), "val.txt")
    assert run.training.checkpoint.name == "iter_900.pth"
    kinds = [entry.type for entry in dataset.pipeline]
    assert kinds == ["LoadImage", "LoadLabels", "PackSegInputs"]


def test_rounds_are_evaluated_where_curves_are_asked_for(plan):
    cfg = plan("drsl", follow_rounds=True)["drsl"].training.cfg
    assert cfg.default_hooks.self_training.evaluate_rounds
    assert cfg.val_dataloader.dataset.type == "CamVidDataset"
    assert cfg.test_dataloader is None
    # Between rounds there is nothing to see.
    assert cfg.train_cfg.val_interval == cfg.train_cfg.max_iters


def test_tricks_come_in_one_order():
    names = list(TRICKS)
    assert check_tricks([names[2], names[0], names[2]]) == (names[0], names[2])
    with pytest.raises(ValueError, match=r"unknown tricks \['magic'\]: use some of"):
        check_tricks(["magic"])


def test_tricks_go_to_every_method(plan):
    tricks = check_tricks(
        ("rare_class_sampling", "target_augmentation", "mean_teacher", "translated_source")
    )
    for run in plan(tricks=tricks).values():
        cfg = run.training.cfg
        assert run.tricks == tricks
        assert run.protocol["network"] == "teacher"
        assert (cfg.default_hooks.teacher.begin, cfg.default_hooks.teacher.evaluate) == (600, True)
        assert run.evaluation.default_hooks.teacher.evaluate
        assert cfg.train_dataloader.sampler.rare_class_sampling.min_pixels == 100
        # Nothing translates the oracle's images.
        assert is_translated(cfg) == (run.method != "oracle")
        if "target" in cfg.train_dataloader.dataset:
            kinds = [entry.type for entry in cfg.train_dataloader.dataset.target.pipeline]
            added = ["RandomGaussianBlur", "RandomGaussianNoise", "RandomCutOut"]
            assert kinds[-4:] == [*added, "PackSegInputs"]
            assert kinds.count("PhotoMetricDistortion") == 1


def test_labels_come_from_one_scale_or_for_all_from_three(plan, usual):
    assert_labels_differ(
        plan(tricks=("multi_scale_labels",)), usual, said="flip, scales [0.75, 1.0, 1.25]"
    )


def test_class_weights_are_undone_in_the_labels_of_all_or_none(plan, usual):
    found = plan(tricks=("undo_class_weights",))
    assert_labels_differ(found, usual, said="class weights undone")
    assert found["dacs"].training.cfg.default_hooks.teacher.undo_class_weights
    labeler = found["self_training"].training.cfg.default_hooks.self_training.labeler
    assert labeler.undo_class_weights


def assert_labels_differ(runs, usual, *, said):
    """A trick of labels is said of, and changes, methods that label images, in rounds or batch by batch."""
    for method, run in runs.items():
        labels = method in labeling(usual) or needs_teacher(usual[method].training.cfg)
        assert (said in run.protocol["labels"]) == labels
        assert said not in usual[method].protocol["labels"]
        assert (run.hash == usual[method].hash) != labels
        assert run.warmup is None or run.warmup.hash == usual[method].warmup.hash


def test_statistics_of_the_target_reach_every_prediction_once(plan, settings, usual):
    found = plan(tricks=("target_bn",))
    for method, run in found.items():
        cfg, plain = run.training.cfg, usual[method]
        if method in labeling(usual):
            # Its checkpoint holds them.
            assert predicts_under(run) == []
            hook = cfg.default_hooks.adabn
            assert hook.target_weight == 0.25
            policy = dict(cfg.default_hooks.self_training.labeler.policy)
            assert policy.pop("highest_threshold") == 1.0
            labeler = plain.training.cfg.default_hooks.self_training.labeler
            assert policy == dict(labeler.get("policy", {}))
            assert run.protocol["labels"] == f"{plain.protocol['labels']}, thresholds up to 1.0"
        else:
            assert predicts_under(run) == [0.25]
            assert run.hash == plain.hash
        assert run.warmup is None or run.warmup.hash == plain.warmup.hash
        assert "target_weight" not in row_of_plan(run, settings().evaluation)["evaluation"]


def test_statistics_of_prediction_leave_the_training_as_it_is(settings):
    asked = settings("source_only", "drsl")
    evaluation = dataclasses.replace(asked.evaluation, target_weight=0.25, identity="other")
    changed = dataclasses.replace(asked, evaluation=evaluation)
    for before, after in zip(plan_runs(asked), plan_runs(changed), strict=True):
        assert (before.hash, before.training.folder) == (after.hash, after.training.folder)
        assert (predicts_under(before), predicts_under(after)) == ([], [0.25])
        rows = [
            row_of_plan(run, each.evaluation) for run, each in ((before, asked), (after, changed))
        ]
        assert "target_weight" not in rows[0]["evaluation"]
        assert rows[1]["evaluation"]["target_weight"] == 0.25
    with pytest.raises(ValueError, match="leave --target-bn out"):
        plan_runs(dataclasses.replace(changed, tricks=("target_bn",)))


def test_a_run_is_the_same_in_a_call_of_its_own(settings):
    networks = ("deeplabv3plus_mobilenetv2", "fcn_r50")
    common = dict(tricks=("mean_teacher",))
    together = plan_runs(settings("drsl", "advent", **common, networks=networks, seeds=(0, 1)))
    assert len(together) == 8
    for run in together[::3]:
        own = dict(networks=(run.network,), seeds=(run.seed,))
        (alone,) = plan_runs(settings(run.method, **common, **own))
        assert (alone.hash, alone.recipe) == (run.hash, run.recipe)
        assert alone.training.cfg.to_dict() == run.training.cfg.to_dict()
        assert alone.training.cfg.randomness.seed == run.seed
        assert alone.evaluation.to_dict() == run.evaluation.to_dict()
    backbones = {run.network: run.training.cfg.model.segmentor.backbone.type for run in together}
    assert list(backbones.values()) == ["MobileNetV2", "ResNet"]


def test_hash_depends_on_the_list_of_the_data_and_not_on_their_place(plan, tmp_path, monkeypatch):
    before = plan("self_training")["self_training"].hash
    moved = write_benchmark(tmp_path / "elsewhere/data")
    monkeypatch.setenv("MMDRSL_BENCHMARK", str(moved))
    changes = dict(data=moved, translations=moved)
    assert plan("self_training", **changes)["self_training"].hash == before
    (moved / "camvid/train.txt").write_text("0001TP_00000\n")
    assert plan("self_training", **changes)["self_training"].hash != before
    with pytest.raises(FileNotFoundError, match=r"has no carla/classes\.json"):
        plan("self_training", data=tmp_path)


def test_letters_of_a_path_do_not_matter(plan, tmp_path, monkeypatch):
    def hash_of(folder):
        data = write_benchmark(tmp_path / folder)
        monkeypatch.setenv("MMDRSL_BENCHMARK", str(data))
        return plan("source_only", data=data, translations=None)["source_only"].hash

    assert hash_of("plain") == hash_of("Müller")


@pytest.fixture
def translated_sets(tmp_path):
    folders = []
    for settings in (
        dict(translator="lab"),
        dict(translator="lab", keep_lightness=True),
        dict(translator="generator", weights="0a"),
    ):
        folder = tmp_path / f"set_{len(folders)}"
        folder.mkdir()
        (folder / "manifest.json").write_text(json.dumps(dict(settings=settings, images={})))
        folders.append(folder)
    return folders


def test_translations_count_only_where_they_are_trained_on(plan, translated_sets):
    plans = [
        plan("source_only", "oracle", tricks=("translated_source",), translations=each)
        for each in translated_sets
    ]
    assert len({runs["source_only"].hash for runs in plans}) == 3
    assert len({runs["oracle"].hash for runs in plans}) == 1
    names = [runs["source_only"].translations.rsplit(" ", 1)[0] for runs in plans]
    assert names == ["lab", "lab colors", "generator"]
    assert plans[0]["oracle"].translations is None
    with pytest.raises(ValueError, match="give --translations DIR"):
        plan("source_only", tricks=("translated_source",), translations=None)


def test_cycada_takes_the_images_of_a_trained_translator(plan, translated_sets):
    lab, _, trained = translated_sets
    run = plan("cycada_pixel", translations=trained)["cycada_pixel"]
    assert run.translations.startswith("generator ")
    assert plan("source_only")["source_only"].warmup.hash != run.warmup.hash
    with pytest.raises(ValueError, match="--methods source_only --tricks translated_source"):
        plan("cycada_pixel", translations=lab)


def test_runs_of_unlike_length_are_refused(plan):
    with pytest.raises(ValueError, match="the methods differ in warmup_steps"):
        plan(
            "source_only",
            "self_training",
            options={"default_hooks.self_training.warmup_iterations": 500},
        )
    with pytest.raises(ValueError, match="the methods differ in steps"):
        check_equal({"a": {"steps": 1}, "b": {"steps": 2}})
    cfg = read_config(CONFIGS / "source_only/deeplabv3plus_carla2camvid.py")
    cfg.warmup_iterations = 900
    with pytest.raises(ValueError, match=r"warmup_iterations is 900, expected 1\.\.899"):
        warmup_iterations(cfg)
    cfg.pop("warmup_iterations")
    with pytest.raises(ValueError, match="a method has no warmup_iterations: its config names"):
        warmup_iterations(cfg)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("default_hooks.self_training.labeler.scales", [0.5, 1.0]),
        ("default_hooks.self_training.label_with", "teacher"),
        ("default_hooks.teacher.begin", 100),
        ("randomness.seed", 7),
    ],
)
def test_options_that_the_protocol_sets_are_refused(plan, name, value):
    with pytest.raises(ValueError, match=f"--cfg-options {name}=.* has no effect on DRSL: the pro"):
        plan("drsl", options={name: value})


@pytest.mark.parametrize("network", ["deeplabv3plus_mobilenetv2", "deeplabv3plus_small"])
def test_initial_weights_are_no_option(plan, network):
    name = "model.segmentor.backbone.init_cfg.checkpoint"
    with pytest.raises(
        ValueError, match=rf"\['{name}'\] would have no effect: .*--weights MODEL=F"
    ):
        plan("drsl", options={name: "other.pth"}, networks=(network,))


@pytest.mark.parametrize(
    "name",
    [
        "val_evaluator.excluded_as_false_positives",
        "test_cfg.fp16",
        "target_dataset.seed",
        "labeling_pipeline.0.to_float32",
        "model.segmentor.test_cfg.mode",
    ],
)
def test_options_do_not_change_the_evaluation(plan, name):
    with pytest.raises(ValueError, match=rf"\['{name}'\] would change how runs are evaluated"):
        plan("source_only", options={name: True})


def test_options_go_to_every_method_that_has_a_place_for_them(plan):
    options = {
        "randomness.seed": 3,
        "default_hooks.self_training.rounds.0.portion": 0.1,
        "optim_wrapper.optimizer": {"lr": 1e-3},
        "default_hooks.adabn.type": "AdaBNHook",
        "default_hooks.adabn.target_weight": 0.25,
        "default_hooks.self_training.labeler.policy.highest_threshold": 1.0,
    }
    runs = plan("source_only", "self_training", "drsl", options=options)
    for run in runs.values():
        cfg = run.training.cfg
        assert cfg.optim_wrapper.optimizer.lr == 1e-3
        # The rest of an entry stays.
        assert cfg.optim_wrapper.optimizer.type == "AdamW"
        assert cfg.default_hooks.adabn == dict(type="AdaBNHook", target_weight=0.25)
    hook = runs["drsl"].training.cfg.default_hooks.self_training
    assert (hook.rounds[0].portion, hook.labeler.policy.highest_threshold) == (0.1, 1.0)
    # What does not reach a method is named.
    policy = "default_hooks.self_training.labeler.policy.highest_threshold"
    assert runs["source_only"].missed_options == (
        "default_hooks.self_training.rounds.0.portion",
        policy,
    )
    assert runs["self_training"].missed_options == (policy,)
    assert runs["drsl"].missed_options == ()
    for name in ("no.entry", "no.entry.type", "default_hooks.modes.kmeans_iteration"):
        with pytest.raises(ValueError, match=rf"--cfg-options {name}: none of \['source_only'\]"):
            plan("source_only", options={name: 1})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("data_root", "/elsewhere"),
        ("load_from", "model.pth"),
        ("crop_size", (32, 32)),
        ("oracle_dataset.ann_file", "other.txt"),
        # The rounds have a number of their own.
        ("warmup_iterations", 4),
    ],
)
def test_options_that_no_run_reads_are_refused(plan, name, value):
    with pytest.raises(
        ValueError, match=rf"{name}: none of \['drsl'\] reads it in a benchmark: na"
    ):
        plan("drsl", options={name: value})


def test_options_that_one_method_reads_are_left_out_of_others(plan):
    lengths = {"warmup_iterations": 500, "default_hooks.self_training.warmup_iterations": 500}
    runs = plan("source_only", "self_training", options={**lengths, "title": "Short"})
    assert {run.protocol["warmup_steps"] for run in runs.values()} == {500}
    assert {run.title for run in runs.values()} == {"Short"}
    assert runs["source_only"].missed_options == ("default_hooks.self_training.warmup_iterations",)
    assert runs["self_training"].missed_options == ("warmup_iterations",)


def test_options_name_entries_of_the_network_asked_for(plan):
    """Not of the one that the methods' configs were written for."""
    options = {"model.segmentor.backbone.embed_dims": 16}
    run = plan("source_only", networks=["segformer_b0"], options=options)["source_only"]
    assert run.training.cfg.model.segmentor.backbone.embed_dims == 16
    with pytest.raises(ValueError, match=r"backbone \(MobileNetV2\) has no entry 'embed_dims'"):
        plan("source_only", options=options)


def test_only_the_configs_of_the_methods_asked_for_are_read(plan, monkeypatch):
    read = []

    def reading(path):
        read.append(path.parent.name)
        return read_config(path)

    monkeypatch.setattr("mmdrsl.benchmark.methods.read_config", reading)
    # Enough for source-only training, no run at all for a method with rounds.
    options = {"warmup_iterations": 4, "train_cfg.max_iters": 8}
    run = plan("source_only", options=options, translations=None)["source_only"]
    assert read == ["source_only"]
    assert run.warmup.training.max_steps == 4
    assert not run.warmup.training.cfg.model.get("heads")
    with pytest.raises(ValueError, match="warmup_iterations is 600"):
        plan("drsl", options={"train_cfg.max_iters": 8})


def execution_of(settings, say=print):
    return Execution(
        processes=Processes(environment={}, folder=ROOT),
        evaluation=settings.evaluation,
        threads=1,
        say=say,
    )


def test_nothing_is_begun_after_a_stop(settings):
    chosen = settings("source_only")
    (run,) = plan_runs(chosen)
    said = []
    execution = execution_of(chosen, said.append)
    execution.processes.stop()
    failures = run_jobs(execution.jobs([run]), workers=1)
    assert [type(error) for error in failures.values()] == [StoppedError]
    assert said == []
    assert not run.warmup.training.folder.exists()
    assert not run.training.folder.exists()


def test_what_has_begun_needs_no_warm_up_any_more(settings):
    chosen = settings("source_only", "drsl")
    runs = plan_runs(chosen)
    execution = execution_of(chosen)
    warmup = str(runs[0].warmup.training.folder)
    names = [str(run.training.folder) for run in runs]
    assert [job.name for job in execution.jobs(runs)] == [warmup, *names]
    for run in runs:
        run.training.folder.mkdir(parents=True)
        (run.training.folder / "last_checkpoint").write_text("iter_700.pth")
    jobs = execution.jobs(runs)
    assert [job.name for job in jobs] == names
    assert {job.after for job in jobs} == {None}


def test_seeds_of_one_method_are_of_one_recipe(settings):
    def rows(**changes):
        chosen = settings("drsl", "source_only", **changes)
        return [row_of_plan(run, chosen.evaluation) for run in plan_runs(chosen)]

    check_comparable([*rows(seeds=(0, 1)), *rows(seeds=(2,))])
    options = {"model.terms.alignment.weight": 0.0}
    with pytest.raises(
        ValueError, match=r"drsl, seed 0 and drsl, seed 1 .* were trained with other"
    ):
        check_comparable([*rows(seeds=(0,)), *rows(seeds=(1,), options=options)])


def test_methods_of_one_table_share_options_and_weights(settings, tmp_path, monkeypatch):
    def rows(method, **changes):
        chosen = settings(method, **changes)
        return [row_of_plan(run, chosen.evaluation) for run in plan_runs(chosen)]

    files = [tmp_path / name / "weights.pth" for name in ("a", "b", "c")]
    for file, content in zip(files, ("one", "two", "one"), strict=True):
        file.parent.mkdir()
        file.write_text(content)
    weights = [{"deeplabv3plus_mobilenetv2": str(file)} for file in files]
    finished = rows("source_only", weights=weights[0])
    # The same content from elsewhere.
    check_comparable([*finished, *rows("drsl", weights=weights[2])])
    with pytest.raises(ValueError, match="other files of initial weights: choose another --out"):
        check_comparable([*finished, *rows("drsl", weights=weights[1])])
    options = {"optim_wrapper.optimizer.lr": 0.1}
    with pytest.raises(ValueError, match="other --cfg-options: choose another --out"):
        check_comparable([*finished, *rows("drsl", weights=weights[2], options=options)])
    monkeypatch.setattr("mmdrsl.__version__", "9.9")
    with pytest.raises(ValueError, match=r"other versions of mmdrsl \(.* and 9\.9\)"):
        check_comparable([*finished, *rows("drsl", weights=weights[2])])


def test_finished_runs_of_other_weights_are_refused_beforehand(settings):
    chosen = settings("source_only", "drsl")
    finished, planned = (row_of_plan(run, chosen.evaluation) for run in plan_runs(chosen))
    assert (finished["title"], planned["title"], planned["tricks"]) == ("Source only", "DRSL", [])
    check_comparable([finished, planned])
    protocol = {**finished["protocol"], "initial_weights": "other.pth"}
    # Another network is another comparison.
    check_comparable([{**finished, "model": "fcn_r50", "protocol": protocol}, planned])
    # Another method, or the same run that was finished under another protocol.
    for other in (finished, planned):
        with pytest.raises(ValueError, match="differ in initial_weights"):
            check_comparable([{**other, "protocol": protocol}, planned])
