"""Resolved runs of the real configs, checked against what their networks do."""

import copy
import dataclasses
import json
from pathlib import Path

import pytest
import torch
from benchmark_data import write_benchmark
from mmengine.config import Config
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmdrsl.benchmark.evaluation_set import read_evaluation_set
from mmdrsl.benchmark.execution import Execution, row_of_plan
from mmdrsl.benchmark.jobs import run_jobs
from mmdrsl.benchmark.methods import METHODS, method_config
from mmdrsl.benchmark.networks import DEFAULT_NETWORK, NETWORKS, use_network, weights_of
from mmdrsl.benchmark.plan import CONFIGS, Settings, plan_runs
from mmdrsl.benchmark.processes import Processes, StoppedError
from mmdrsl.benchmark.protocol import check_equal, protocol_of
from mmdrsl.benchmark.results import check_comparable
from mmdrsl.benchmark.training_run import ROOT
from mmdrsl.benchmark.warmup import joined_warmup, warmup_config, warmup_iterations
from mmdrsl.engine.launch import resolve_mmseg_bases
from mmdrsl.models.adaptation_step import AdaptationProgress
from mmdrsl.models.feature_maps import choose_map, feature_maps


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_benchmark(tmp_path_factory.mktemp("benchmark") / "data")


@pytest.fixture(autouse=True)
def environment(monkeypatch, data):
    resolve_mmseg_bases()
    monkeypatch.setenv("MMDRSL_BENCHMARK", str(data))


@pytest.fixture
def settings(data, tmp_path):
    def build(**changes):
        values = dict(
            data=data,
            out=tmp_path / "out",
            methods=tuple(METHODS),
            networks=(DEFAULT_NETWORK,),
            seeds=(3,),
            evaluation=read_evaluation_set(
                data / "camvid", "val", label_space="street10", data=data
            ),
            weights={DEFAULT_NETWORK: "scratch"},
            translations=data,
        )
        return Settings(**{**values, **changes})

    return build


def by_method(runs):
    return {run.method: run for run in runs}


def test_every_method_of_the_start_is_there():
    wanted = """source_only oracle self_training drsl adaptsegnet adaptsegnet_multi seg_uncertainty
        cycada_pixel cycada_feature cycada mrkld minent advent dacs"""
    assert set(wanted.split()) == set(METHODS)


def test_the_usual_table_is_equal_for_all_methods(settings):
    runs = by_method(plan_runs(settings()))
    assert list(runs) == list(METHODS)
    for run in runs.values():
        protocol = run.protocol
        assert (protocol["steps"], protocol["warmup_steps"]) == (900, 600)
        assert (protocol["images_per_step"], protocol["network"]) == (4, "student")
        cfg = run.training.cfg
        assert cfg.randomness.seed == 3
        assert cfg.val_dataloader is None
        assert "analysis_dataset" not in cfg.default_hooks.get("self_training", {})
        teacher = cfg.default_hooks.get("teacher")
        assert (teacher is not None) == (run.method == "dacs")
        if teacher is not None:
            assert (teacher.begin, teacher.evaluate) == (600, False)
        rounds = cfg.default_hooks.get("self_training")
        if rounds is not None:
            assert [entry.iterations for entry in rounds.rounds] == [150, 150]
            assert rounds.label_with == "student"
        # Same segmentor, optimizer and schedule.
        source = runs["source_only"].training.cfg
        assert cfg.model.segmentor == source.model.segmentor
        assert cfg.optim_wrapper.optimizer == source.optim_wrapper.optimizer
        assert cfg.param_scheduler == source.param_scheduler
    labeled = {run.protocol["labels"] for run in runs.values()} - {
        "none",
        "every batch, by the teacher",
    }
    # DRSL's labels come from both of its heads, as its name in the page says; all else about labels is equal.
    own = runs["drsl"].protocol["labels"]
    assert own == f"{runs['self_training'].protocol['labels']}, share 0.5 of the head 'mmdl'"
    assert labeled == {own, own.split(", share")[0]}


def test_protocol_says_how_two_domains_are_normalized(settings):
    runs = by_method(plan_runs(settings(methods=("source_only", "drsl", "adaptsegnet"))))
    said = [run.protocol["normalization"] for run in runs.values()]
    assert said == [None, "joint", "frozen"]
    assert runs["drsl"].training.cfg.model.get("normalization", "joint") == "joint"
    assert runs["adaptsegnet"].training.cfg.model.normalization == "frozen"
    cfg = runs["adaptsegnet"].training.cfg
    cfg.default_hooks.normalization = dict(type="AdaBNHook", target_share=0.5)
    found = protocol_of(cfg, initial_weights="scratch")["normalization"]
    assert found == "frozen, statistics with a share 0.5 of the target"
    cfg.default_hooks.normalization.rest = "running"
    found = protocol_of(cfg, initial_weights="scratch")["normalization"]
    assert found == "frozen, statistics with a share 0.5 of the target, the rest as they were"


def test_statistics_of_prediction_leave_the_training_as_it_is(settings):
    usual = settings(methods=("source_only", "drsl"))
    evaluation = dataclasses.replace(usual.evaluation, target_share=0.25, identity="other")
    runs = [
        plan_runs(chosen) for chosen in (usual, dataclasses.replace(usual, evaluation=evaluation))
    ]
    for before, after in zip(*runs, strict=True):
        assert (before.hash, before.training.folder) == (after.hash, after.training.folder)
        kinds = [
            [hook.type for hook in run.evaluation.get("custom_hooks", ())]
            for run in (before, after)
        ]
        assert kinds[1] == [*kinds[0], "TestTimeBNHook"]
        rows = [
            row_of_plan(run, own) for run, own in ((before, usual.evaluation), (after, evaluation))
        ]
        assert "target_share" not in rows[0]["evaluation"]
        assert rows[1]["evaluation"]["target_share"] == 0.25


def test_labels_come_from_one_scale_or_for_all_from_three(settings):
    methods = tuple(m for m in METHODS if not METHODS[m].is_translated)
    plain = by_method(plan_runs(settings(methods=methods)))
    scaled = by_method(plan_runs(settings(methods=methods, extras=("label_scales",))))
    labeling = {"self_training", "drsl", "seg_uncertainty", "mrkld"}
    for method, run in scaled.items():
        labels = run.protocol["labels"]
        assert ("scales [0.75, 1.0, 1.25]" in labels) == (method in labeling)
        assert "scales" not in plain[method].protocol["labels"]
        # Where no round is labeled, the run is that of the plain table.
        assert (run.hash == plain[method].hash) == (method not in labeling)
        if run.warmup is not None:
            assert run.warmup.hash == plain[method].warmup.hash


def test_protocol_reads_the_crop_that_is_taken(settings):
    run = plan_runs(settings(methods=("source_only",)))[0]
    assert run.protocol["crop"] == [[192, 256]]
    assert run.protocol["initial_weights"] == "scratch"


def test_warm_ups_are_shared_where_the_configs_allow_it(settings):
    plan = plan_runs(settings(methods=tuple(m for m in METHODS if not METHODS[m].is_translated)))
    runs = by_method(plan)
    shared = runs["source_only"].warmup
    alone = {name for name, run in runs.items() if run.warmup is not shared}
    # The weight of the second classifier differs.
    assert alone == {"seg_uncertainty", "oracle"}
    assert runs["seg_uncertainty"].warmup is not None
    model = shared.training.cfg.model
    assert set(model.heads) == {"mmdl", "auxiliary"}
    assert set(model.discriminators) == {"output", "auxiliary", "scores"}
    # The last one waits for target images; its gate is part of the checkpoint.
    assert set(model.terms) == {"source", "metric", "source_auxiliary", "adaptation"}
    # It begins on the target.
    assert runs["oracle"].warmup is None
    dacs = runs["dacs"].training
    assert dacs.warmup_checkpoint == dacs.folder / "warmup.pth"
    assert runs["dacs"].training.first_step == 600
    title = "warm-up for Source only, Self-training, DRSL, AdaptSegNet, "
    assert shared.training.title.startswith(title)


def test_without_a_gate_nothing_in_the_warm_up_asks_for_one(settings):
    options = {"model.terms.adaptation.gate": None}
    warmup = plan_runs(settings(methods=("source_only",), options=options))[0].warmup.training.cfg
    assert "adaptation" not in warmup.model.terms
    assert "DomainAccuracyHook" not in {hook.type for hook in warmup.custom_hooks}


def test_a_later_call_finds_the_warm_up_of_an_earlier_one(settings):
    asked = [("source_only",), ("dacs", "drsl"), ("advent", "source_only", "adaptsegnet_multi")]
    plans = [plan_runs(settings(methods=methods)) for methods in asked]
    shared = {run.warmup.hash for runs in plans for run in runs}
    assert len(shared) == 1
    # The log names those that the call is about.
    assert plans[0][0].warmup.training.title.startswith("warm-up for Source only, deeplab")
    assert plans[1][0].warmup.training.title.startswith("warm-up for DRSL, DACS, deeplab")
    rectified = plan_runs(settings(methods=("seg_uncertainty",)))[0]
    assert {rectified.warmup.hash}.isdisjoint(shared)
    together = by_method(plan_runs(settings()))
    assert together["seg_uncertainty"].warmup.hash == rectified.warmup.hash
    assert {together["source_only"].warmup.hash} == shared


def test_methods_that_are_not_asked_for_forbid_nothing(settings):
    # Enough for source-only training, no run at all for a method with rounds.
    options = {"warmup_iterations": 4, "train_cfg.max_iters": 8}
    (run,) = plan_runs(settings(methods=("source_only",), options=options, translations=None))
    assert run.warmup.training.max_steps == 4
    assert not run.warmup.training.cfg.model.get("heads")
    for options in (
        {"default_hooks.teacher": None},
        {"default_hooks.self_training.labeler": None},
    ):
        runs = plan_runs(settings(methods=("source_only", "self_training"), options=options))
        assert [run.method for run in runs] == ["source_only", "self_training"]
    options = {"warmup_iterations": 4, "train_cfg.max_iters": 8}
    with pytest.raises(ValueError, match="warmup_iterations is 600"):
        plan_runs(settings(methods=("drsl",), options=options))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("default_hooks.self_training.labeler.scales", [0.5, 1.0]),
        ("default_hooks.self_training.label_with", "teacher"),
        ("default_hooks.self_training.evaluate_rounds", True),
        ("default_hooks.teacher.begin", 100),
        ("randomness.seed", 7),
        ("model.segmentor.backbone.init_cfg.checkpoint", "other.pth"),
    ],
)
def test_options_that_the_protocol_sets_are_refused(settings, name, value):
    with pytest.raises(ValueError, match=f"--cfg-options {name}=.* has no effect on DRSL: the pro"):
        plan_runs(settings(methods=("drsl",), options={name: value}))


def test_options_that_stay_are_taken(settings):
    options = {
        "randomness.seed": 3,
        "default_hooks.self_training.rounds.0.portion": 0.1,
        "optim_wrapper.optimizer": {"lr": 1e-3},
        "train_cfg.max_iters": 900,
    }
    (run,) = plan_runs(settings(methods=("drsl",), options=options))
    assert run.training.cfg.optim_wrapper.optimizer.lr == 1e-3
    assert run.training.cfg.default_hooks.self_training.rounds[0].portion == 0.1
    with pytest.raises(ValueError, match="would change how runs are evaluated"):
        plan_runs(settings(methods=("drsl",), options={"model.segmentor.test_cfg.mode": "slide"}))


@pytest.mark.parametrize(
    "options",
    [
        {"model.heads_shape_warmup": True},
        {"optim_wrapper.clip_grad": {"max_norm": 1.0}},
        {"optim_wrapper.type": "AmpOptimWrapper"},
        {"model.terms.further": {"type": "EntropyTerm", "head": "mmdl"}},
        {"default_hooks.modes.kmeans_iteration": 100},
    ],
)
def test_what_would_change_the_segmentor_or_a_head_is_not_joined(settings, options):
    cfgs = {name: method_config(name, CONFIGS) for name in ("self_training", "drsl")}
    for cfg in cfgs.values():
        cfg.default_hooks.teacher.begin = 600
    source, drsl = (warmup_config(cfg) for cfg in cfgs.values())
    assert joined_warmup(source, drsl) is not None
    changed = drsl.copy()
    changed.merge_from_dict(options)
    assert joined_warmup(drsl, changed) is None
    # Two runs that begin alike share whatever that is.
    assert joined_warmup(changed, changed.copy()) is changed
    if "default_hooks.modes.kmeans_iteration" not in options:
        assert joined_warmup(source, changed) is None


def test_what_acts_in_the_rounds_alone_leaves_the_warm_up(settings):
    def drsl(**options):
        return plan_runs(settings(methods=("drsl",), options=options))[0].warmup.hash

    later = {
        "model.terms.alignment.weight": 0.0,
        "model.terms.metric_target.weight": 0.0,
        "default_hooks.self_training.rounds.0.portion": 0.1,
        "model.normalization": "frozen",
    }
    assert drsl(**later) == drsl()
    assert drsl(**{"model.terms.metric.weight": 0.2}) != drsl()
    assert drsl(**{"model.heads.mmdl.num_modes": 1}) != drsl()
    statistics = dict(type="AdaBNHook", target_share=0.5)
    for normalization in ("joint", "frozen"):
        options = {
            "model.normalization": normalization,
            "default_hooks.normalization": statistics,
        }
        assert drsl(**options) == drsl()
    assert drsl(**{"model.heads_shape_warmup": True}) != drsl()
    # Modes are seeded under the statistics of a domain's own batches.
    assert drsl(**{"model.normalization": "domain_specific"}) != drsl()


def batch(*domains):
    """Labeled images, normalized."""
    generator = torch.Generator().manual_seed(0)
    samples = []
    for domain in domains:
        label = torch.randint(0, 10, (1, 8, 8), generator=generator)
        label = label.repeat_interleave(8, 1).repeat_interleave(8, 2)
        shape = dict(img_shape=(64, 64), ori_shape=(64, 64))
        samples.append(
            SegDataSample(gt_sem_seg=PixelData(data=label), metainfo=dict(domain=domain, **shape))
        )
    return torch.randn(len(domains), 3, 64, 64, generator=generator), samples


@pytest.mark.parametrize("method", METHODS)
def test_shared_warm_up_is_the_methods_own(settings, method):
    # By what the model does: before any round a run that shares has the parameters and losses of the warm-up alone.
    plan = plan_runs(settings(methods=tuple(dict.fromkeys((method, "drsl", "advent", "dacs")))))
    run = plan[0]
    cfg = run.training.cfg
    if run.warmup is None:
        return
    warmup = run.warmup.training.cfg
    models = []
    for config in (cfg, warmup):
        torch.manual_seed(0)
        models.append(MODELS.build(copy.deepcopy(config.model)))
    own, joined = (model.state_dict() for model in models)
    assert own.keys() <= joined.keys()
    # Whatever is beside them, heads and discriminators begin with the same weights.
    assert all(torch.equal(value, joined[name]) for name, value in own.items())
    inputs, samples = batch("source", "source")
    values = []
    for model in models:
        torch.manual_seed(1)
        model.train()
        values.append(
            {key: value for key, value in model.loss(inputs, samples).items() if "loss" in key}
        )
    trained = {key for key, value in values[0].items() if value.requires_grad and value != 0}
    assert trained == set(values[0]) & set(values[1])
    for key in trained:
        assert torch.equal(values[0][key], values[1][key])
    assert warmup.train_cfg.max_iters == 600
    for key in ("optim_wrapper", "param_scheduler", "randomness"):
        assert warmup[key] == cfg[key]
    assert warmup.train_dataloader.dataset.source == cfg.train_dataloader.dataset.source


@pytest.mark.parametrize(
    "change",
    [
        {"default_hooks.teacher": {"type": "MeanTeacherHook", "begin": 599}},
        {"custom_hooks": [{"type": "EMAHook"}]},
    ],
)
def test_what_acts_in_the_warm_up_forbids_sharing(change):
    cfg = method_config("self_training", CONFIGS)
    cfg.default_hooks.teacher.begin = 600
    assert warmup_config(cfg) is not None
    cfg.merge_from_dict(change)
    assert warmup_config(cfg) is None


@pytest.mark.parametrize(
    "change",
    [
        {"model.heads": {"mmdl": {"type": "MMDLHead"}}},
        {"model.terms.extra": {"type": "SegmentationTerm", "domain": "source"}},
        {"model.terms.extra": {"type": "ModeMetricTerm", "domains": ["target", "source"]}},
        {"model.terms.extra": {"type": "ModeMetricTerm"}},
        {"model.discriminators": {"output": {"type": "DomainDiscriminator"}}},
        {"default_hooks.modes": {"type": "ModeMaintenanceHook"}},
        {"custom_hooks": [{"type": "ModeMonitorHook"}]},
    ],
)
def test_what_is_trained_on_the_source_is_part_of_the_warm_up(change):
    cfg = method_config("self_training", CONFIGS)
    cfg.default_hooks.teacher.begin = 600
    before = warmup_config(cfg).to_dict()
    cfg.merge_from_dict(change)
    assert warmup_config(cfg).to_dict() != before


def test_seeds_and_extras_have_warm_ups_of_their_own(settings):
    runs = plan_runs(settings(methods=("source_only", "self_training"), seeds=(0, 1)))
    assert len({run.warmup.hash for run in runs}) == 2
    rare = plan_runs(settings(methods=("source_only",), seeds=(0,), extras=("rare_classes",)))
    assert rare[0].warmup.hash not in {run.warmup.hash for run in runs}
    # The target's noise is no part of a warm-up on the source.
    noise = plan_runs(settings(methods=("source_only",), seeds=(0,), extras=("target_noise",)))
    assert noise[0].warmup.hash == runs[0].warmup.hash
    assert noise[0].warmup.training.folder != runs[0].warmup.training.folder


def test_a_run_is_the_same_in_a_call_of_its_own(settings):
    networks = (DEFAULT_NETWORK, "fcn_r50")
    common = dict(methods=("drsl",), extras=("teacher",))
    together = plan_runs(settings(**common, networks=networks, seeds=(0, 1)))
    assert len(together) == 4
    for run in together:
        assert run.training.cfg.randomness.seed == run.seed
        (alone,) = plan_runs(
            settings(
                methods=(run.method,),
                extras=("teacher",),
                networks=(run.network,),
                seeds=(run.seed,),
            )
        )
        assert alone.hash == run.hash
        assert alone.training.cfg.to_dict() == run.training.cfg.to_dict()
        assert alone.evaluation.to_dict() == run.evaluation.to_dict()
    backbones = {run.network: run.training.cfg.model.segmentor.backbone.type for run in together}
    assert backbones[DEFAULT_NETWORK] == "MobileNetV2"
    assert backbones["fcn_r50"] == "ResNet"


def test_hash_does_not_depend_on_the_place_of_the_data(settings, data, tmp_path, monkeypatch):
    before = plan_runs(settings(methods=("self_training",)))[0].hash
    moved = write_benchmark(tmp_path / "elsewhere" / "data")
    monkeypatch.setenv("MMDRSL_BENCHMARK", str(moved))
    changes = dict(methods=("self_training",), data=moved, translations=moved)
    assert plan_runs(settings(**changes))[0].hash == before


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


def test_translations_count_only_where_they_are_trained_on(settings, translated_sets):
    methods = ("source_only", "oracle")
    plans = [
        by_method(plan_runs(settings(methods=methods, extras=("translated",), translations=each)))
        for each in translated_sets
    ]
    assert len({plan["source_only"].hash for plan in plans}) == 3
    assert len({plan["oracle"].hash for plan in plans}) == 1
    names = [plan["source_only"].translations.rsplit(" ", 1)[0] for plan in plans]
    assert names == ["lab", "lab colors", "generator"]
    assert plans[0]["oracle"].translations is None


def test_cycada_takes_the_images_of_a_trained_translator(settings, translated_sets):
    lab, _, trained = translated_sets
    (run,) = plan_runs(settings(methods=("cycada_pixel",), translations=trained))
    assert run.translations.startswith("generator ")
    # Another call finds its warm-up, whose discriminator has learned nothing.
    (both,) = plan_runs(settings(methods=("cycada",), translations=trained))
    assert both.warmup.hash == run.warmup.hash
    (plain,) = plan_runs(settings(methods=("source_only",)))
    assert plain.warmup.hash != run.warmup.hash
    with pytest.raises(ValueError, match="--methods source_only --extras translated"):
        plan_runs(settings(methods=("cycada_pixel",), translations=lab))


def test_hash_depends_on_the_list_of_the_data(settings, data, tmp_path, monkeypatch):
    before = plan_runs(settings(methods=("self_training",)))[0].hash
    moved = write_benchmark(tmp_path / "elsewhere" / "data")
    monkeypatch.setenv("MMDRSL_BENCHMARK", str(moved))
    changes = dict(methods=("self_training",), data=moved)
    (moved / "camvid/train.txt").write_text("0001TP_00000\n")
    assert plan_runs(settings(**changes))[0].hash != before


def test_extras_go_to_every_method(settings):
    extras = ("rare_classes", "target_noise", "teacher", "translated")
    for run in plan_runs(settings(extras=extras)):
        cfg = run.training.cfg
        assert run.protocol["network"] == "teacher"
        assert cfg.default_hooks.teacher.evaluate
        assert cfg.default_hooks.teacher.begin == 600
        assert run.evaluation.default_hooks.teacher.evaluate
        assert cfg.train_dataloader.sampler.rare_classes.min_pixels == 100
        source = cfg.train_dataloader.dataset.source.type
        assert source == ("CamVidDataset" if run.method == "oracle" else "TranslatedDataset")
        if "target" in cfg.train_dataloader.dataset:
            kinds = [entry.type for entry in cfg.train_dataloader.dataset.target.pipeline]
            assert kinds[-4:] == [
                "RandomGaussianBlur",
                "RandomGaussianNoise",
                "RandomCutOut",
                "PackSegInputs",
            ]
            assert kinds.count("PhotoMetricDistortion") == 1


def test_statistics_of_the_target_reach_every_prediction_once(settings):
    extra = by_method(plan_runs(settings(extras=("target_statistics",))))
    usual = by_method(plan_runs(settings()))
    labeling = {"self_training", "drsl", "mrkld", "seg_uncertainty"}
    for method, run in extra.items():
        mixed = [
            hook.target_share
            for hook in run.evaluation.get("custom_hooks", ())
            if hook.type == "TestTimeBNHook"
        ]
        cfg = run.training.cfg
        if method in labeling:
            # Its checkpoint holds them.
            assert mixed == []
            hook = cfg.default_hooks.normalization
            assert (hook.target_share, hook.rest) == (0.25, "running")
            policy = dict(cfg.default_hooks.self_training.labeler.policy)
            assert policy.pop("highest_threshold") == 1.0
            assert (
                run.protocol["labels"]
                == f"{usual[method].protocol['labels']}, thresholds up to 1.0"
            )
            labeler = usual[method].training.cfg.default_hooks.self_training.labeler
            assert policy == dict(labeler.get("policy", {}))
        else:
            assert mixed == [0.25]
            assert run.hash == usual[method].hash
        if run.warmup is not None:
            assert run.warmup.hash == usual[method].warmup.hash
        assert "target_share" not in row_of_plan(run, settings().evaluation)["evaluation"]


def test_statistics_of_the_target_are_not_mixed_twice(settings):
    asked = settings(methods=("drsl",), extras=("target_statistics",))
    evaluation = dataclasses.replace(asked.evaluation, target_share=0.25)
    with pytest.raises(ValueError, match="leave --target-statistics out"):
        plan_runs(dataclasses.replace(asked, evaluation=evaluation))


def test_evaluation_is_of_the_last_iterate_on_the_chosen_set(settings, data):
    run = plan_runs(settings(methods=("drsl",)))[0]
    dataset = run.evaluation.test_dataloader.dataset
    assert (dataset.data_root, dataset.ann_file) == (str(data / "camvid"), "val.txt")
    assert run.training.checkpoint.name == "iter_900.pth"
    assert [entry.type for entry in dataset.pipeline] == [
        "LoadImage",
        "LoadLabels",
        "PackSegInputs",
    ]


@pytest.mark.parametrize("network", [name for name in NETWORKS if name != DEFAULT_NETWORK])
def test_networks_give_the_channels_that_are_written_down(network):
    cfg = method_config("drsl", CONFIGS)
    use_network(cfg, network, configs=CONFIGS, weights=None)
    cfg.model.segmentor.train_cfg, cfg.model.segmentor.test_cfg = {}, dict(mode="whole")
    segmentor = MODELS.build(cfg.model.segmentor)
    # MMSegmentation's ResNet returns nothing from eval().
    segmentor.eval()
    with torch.no_grad():
        outputs = feature_maps(segmentor, torch.zeros(1, 3, 64, 64))
    channels = tuple(output.shape[1] for output in outputs)
    assert channels[: len(NETWORKS[network].channels)] == NETWORKS[network].channels
    head = cfg.model.heads.mmdl
    assert head.in_channels == choose_map(outputs, head.in_index).shape[1]
    assert cfg.model.segmentor.decode_head.num_classes == 10
    assert len(cfg.model.segmentor.decode_head.loss_decode.class_weight) == 10


@pytest.mark.parametrize("method", METHODS)
def test_every_method_steps_on_another_network(settings, method):
    # Channels of heads and discriminators are those of the other network, or the step fails.
    run = plan_runs(settings(methods=(method,), networks=("deeplabv3plus_small",)))[0]
    cfg = run.training.cfg
    model_cfg = copy.deepcopy(cfg.model)
    if "adaptation" in model_cfg.terms:
        # Nobody opens the gate here.
        model_cfg.terms.adaptation.gate = None
    model = MODELS.build(model_cfg).train()
    if "teacher" in cfg.default_hooks:
        model.add_teacher(dict(type="ExponentialMovingAverage"))
        model.teacher.update_parameters(model.networks())
    model.progress = AdaptationProgress(round=1, adaptation_iteration=100)
    inputs, samples = batch("source", "source", "target", "target")
    losses = model.loss(inputs, samples)
    assert {key.split(".")[0] for key in losses} == set(cfg.model.terms)
    total = sum(value.sum() for key, value in losses.items() if "loss" in key)
    total.backward()
    assert torch.isfinite(total)
    for name, discriminator in model.discriminators.items():
        assert any(p.grad is not None and p.grad.any() for p in discriminator.parameters()), name


def test_method_that_changes_the_segmentor_has_no_other_networks():
    cfg = method_config("drsl", CONFIGS)
    cfg.model.segmentor.decode_head.channels = 64
    with pytest.raises(ValueError, match=r"changes model.segmentor.decode_head in \['channels'\]"):
        use_network(cfg, "fcn_r50", configs=CONFIGS, weights=None)


def test_weights_must_be_there_or_be_waived(tmp_path):
    with pytest.raises(FileNotFoundError, match="--weights deeplabv3plus_mobilenetv2=scratch"):
        weights_of(DEFAULT_NETWORK, data=tmp_path, given={})
    assert weights_of(DEFAULT_NETWORK, data=tmp_path, given={DEFAULT_NETWORK: "scratch"}) is None
    assert weights_of("fcn_r50", data=tmp_path, given={}) is None
    file = tmp_path / "resnet.pth"
    file.touch()
    assert weights_of("fcn_r50", data=tmp_path, given={"fcn_r50": str(file)}) == file.resolve()
    with pytest.raises(ValueError, match="unknown model 'vgg'"):
        weights_of("vgg", data=tmp_path, given={})


def test_missing_and_wrong_configs_are_named(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"'advent' has no config .*advent/deeplabv3plus_carla2camvid\.py"
    ):
        method_config("advent", tmp_path)
    with pytest.raises(ValueError, match="unknown method 'best'"):
        method_config("best", CONFIGS)
    folder = tmp_path / "minent"
    folder.mkdir()
    (folder / "deeplabv3plus_carla2camvid.py").write_text(
        "model = dict(terms=dict(source=dict(type='SegmentationTerm', domain='source')))"
    )
    with pytest.raises(ValueError, match=r"model.terms lacks \['EntropyTerm'\]"):
        method_config("minent", tmp_path)


def test_runs_of_unlike_length_are_refused(settings):
    with pytest.raises(ValueError, match="the methods differ in warmup_steps"):
        plan_runs(
            settings(
                methods=("source_only", "self_training"),
                options={"default_hooks.self_training.warmup_iterations": 500},
            )
        )
    with pytest.raises(ValueError, match="the methods differ in steps"):
        check_equal({"a": {"steps": 1}, "b": {"steps": 2}})
    cfg = method_config("source_only", CONFIGS)
    cfg.warmup_iterations = 900
    with pytest.raises(ValueError, match=r"warmup_iterations is 900, expected 1\.\.899"):
        warmup_iterations(cfg)


def test_options_of_methods_that_are_not_asked_for_change_nothing(settings):
    modes = {"default_hooks.modes.kmeans_iteration": 7}
    alone, optioned = (
        plan_runs(settings(methods=("source_only",), options=options))[0] for options in ({}, modes)
    )
    assert alone.hash == optioned.hash
    drsl = plan_runs(settings(methods=("drsl",), options=modes))[0].training.cfg
    assert drsl.default_hooks.modes.kmeans_iteration == 7
    for name in ("no.entry", "no.entry.type"):
        with pytest.raises(ValueError, match=r"none of .* has 'no"):
            plan_runs(settings(methods=("source_only",), options={name: 1}))


def test_options_that_do_not_reach_a_method_are_named(settings):
    options = {
        "default_hooks.normalization.type": "AdaBNHook",
        "default_hooks.normalization.target_share": 0.25,
        "default_hooks.self_training.labeler.policy.highest_threshold": 1.0,
    }
    runs = by_method(plan_runs(settings(methods=("self_training", "drsl"), options=options)))
    assert runs["self_training"].missed_options == (
        "default_hooks.self_training.labeler.policy.highest_threshold",
    )
    assert runs["drsl"].missed_options == ()


@pytest.mark.parametrize(
    "name", ["val_evaluator.excluded_as_false_positives", "test_cfg.fp16", "target_dataset.seed"]
)
def test_options_do_not_change_the_evaluation(settings, name):
    with pytest.raises(ValueError, match=rf"\['{name}'\] would change how runs are evaluated"):
        plan_runs(settings(methods=("source_only",), options={name: True}))


def test_options_give_a_config_of_the_repository(settings):
    options = {
        "default_hooks.normalization.type": "AdaBNHook",
        "default_hooks.normalization.target_share": 0.25,
        "default_hooks.normalization.rest": "running",
        "default_hooks.self_training.labeler.policy.highest_threshold": 1.0,
    }
    found = plan_runs(settings(methods=("drsl",), options=options))[0]
    usual = plan_runs(settings(methods=("drsl",)))[0]
    written = Config.fromfile(
        CONFIGS / "drsl/ablations/deeplabv3plus_carla2camvid_target_statistics.py"
    )
    hooks = found.training.cfg.default_hooks
    assert hooks.normalization == written.default_hooks.normalization
    policy = hooks.self_training.labeler.policy
    assert policy == written.default_hooks.self_training.labeler.policy
    assert found.warmup.hash == usual.warmup.hash
    assert found.hash != usual.hash


def test_other_data_are_refused(settings, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"has no carla/classes\.json"):
        plan_runs(settings(data=Path(tmp_path)))


def execution_of(settings, say=print):
    return Execution(
        processes=Processes(environment={}, folder=ROOT),
        evaluation=settings.evaluation,
        threads=1,
        say=say,
    )


def test_nothing_is_begun_after_a_stop(settings):
    chosen = settings(methods=("source_only",))
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
    chosen = settings(methods=("source_only", "drsl"))
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
        chosen = settings(methods=("drsl", "source_only"), **changes)
        return [row_of_plan(run, chosen.evaluation) for run in plan_runs(chosen)]

    check_comparable([*rows(seeds=(0, 1)), *rows(seeds=(2,))])
    options = {"model.terms.alignment.weight": 0.0}
    with pytest.raises(
        ValueError, match=r"drsl, seed 0 and drsl, seed 1 .* were trained with other"
    ):
        check_comparable([*rows(seeds=(0,)), *rows(seeds=(1,), options=options)])


def test_finished_runs_of_other_weights_are_refused_beforehand(settings):
    chosen = settings(methods=("source_only", "drsl"))
    finished, planned = (row_of_plan(run, chosen.evaluation) for run in plan_runs(chosen))
    check_comparable([finished, planned])
    protocol = {**finished["protocol"], "initial_weights": "other.pth"}
    # Another network is another comparison.
    check_comparable([{**finished, "model": "fcn_r50", "protocol": protocol}, planned])
    with pytest.raises(ValueError, match="differ in initial_weights"):
        check_comparable([{**finished, "protocol": protocol}, planned])
    # The same run, finished under another protocol.
    with pytest.raises(ValueError, match="differ in initial_weights"):
        check_comparable([{**planned, "protocol": protocol}, planned])
