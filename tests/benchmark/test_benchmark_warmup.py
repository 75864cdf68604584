"""Which runs begin with one warm-up, in one call and in several."""

import copy

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmseg.registry import MODELS
from training_steps import labeled_batch

import mmdrsl
from mmdrsl.benchmark.methods import built_in_methods, is_translated
from mmdrsl.benchmark.pairs import DEFAULT_PAIR, pair_names
from mmdrsl.benchmark.plan import CONFIGS
from mmdrsl.benchmark.warmup import joined_warmup, warmup_config
from mmdrsl.engine.adaptation_hook import AdaptationHook
from mmdrsl.engine.launch import read_config


def method_config(method):
    return read_config(CONFIGS / method / f"deeplabv3plus_{DEFAULT_PAIR}.py")


def write(warmup):
    """Leave the config of a warm-up as a call that trains it does."""
    training = warmup.training
    training.config_file.parent.mkdir(parents=True, exist_ok=True)
    training.cfg.dump(training.config_file)


def test_warm_ups_are_shared_where_the_configs_allow_it(usual):
    shared = usual["source_only"].warmup
    members = [run for run in usual.values() if run.warmup is shared]
    translated = {name for name, run in usual.items() if is_translated(run.training.cfg)}
    # The weight of its second classifier differs; the distance to the first features is learned from the first step on;
    # the oracle begins on the target.
    alone = {"seg_uncertainty", "daformer", "oracle"}
    assert {run.method for run in members} == set(usual) - translated - alone
    assert len({id(usual[name].warmup) for name in (*translated, *alone)}) == 4
    assert usual["oracle"].warmup is None
    # What any of them trains learns in it.
    model = shared.training.cfg.model
    for part in ("heads", "discriminators"):
        needed = {name for run in members for name in run.training.cfg.model.get(part, {})}
        assert set(model[part]) == needed
    # Of the terms on the target only those with a state, which is part of the checkpoint: a gate.
    of_target = {"adaptation"}
    assert set(model.terms) == {"source", "metric", "source_auxiliary"} | of_target
    assert "target" not in shared.training.cfg.train_dataloader.dataset
    titles = ", ".join(run.title for run in members)
    assert shared.training.title == f"warm-up for {titles}, {members[0].network}, seed 3"
    for run in members:
        assert run.training.warmup_checkpoint == run.training.folder / "warmup.pth"
        assert run.training.first_step == shared.training.max_steps


@pytest.mark.parametrize(
    "method",
    [
        pytest.param(name, marks=() if name == "drsl" else pytest.mark.slow)
        for name in built_in_methods(CONFIGS, DEFAULT_PAIR)
    ],
)
def test_shared_warm_up_is_the_methods_own(usual, method):
    # By what the model does: before any round a run that shares has the parameters and losses of the warm-up alone.
    run = usual[method]
    if run.warmup is None:
        return
    cfg, warmup = run.training.cfg, run.warmup.training.cfg
    models = []
    for config in (cfg, warmup):
        torch.manual_seed(0)
        models.append(MODELS.build(copy.deepcopy(config.model)))
    own, joined = (model.state_dict() for model in models)
    assert own.keys() <= joined.keys()
    # Whatever is beside them, heads and discriminators begin with the same weights.
    assert all(torch.equal(value, joined[name]) for name, value in own.items())
    inputs, samples = labeled_batch("source", "source")
    values = []
    for model in models:
        torch.manual_seed(1)
        # No Runner is here whose hook would do it.
        model.calls_after_step = True
        losses = model.train().loss(inputs, samples)
        values.append({key: value for key, value in losses.items() if "loss" in key})
    assert values[0].keys() <= values[1].keys()
    assert all(torch.equal(value, values[1][key]) for key, value in values[0].items())
    assert any(value.requires_grad for value in values[0].values())
    assert warmup.train_cfg.max_iters == 600
    for key in ("optim_wrapper", "randomness"):
        assert warmup[key] == cfg[key]
    assert warmup.train_dataloader.dataset.source == cfg.train_dataloader.dataset.source


class OneWeight(BaseModel):
    """The least that a schedule can act on."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def forward(self, inputs, mode="loss"):
        return dict(loss=self.layer(inputs).mean())


class Rates(Hook):
    """Learning rate at each step."""

    def __init__(self):
        self.rates = {}

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        (self.rates[runner.iter],) = runner.optim_wrapper.get_lr()["lr"]


def rates_of(cfg, work_dir, **options):
    rates = Rates()
    runner = Runner(
        model=OneWeight(),
        work_dir=str(work_dir),
        train_dataloader=dict(
            dataset=[dict(inputs=torch.ones(1))] * 4,
            sampler=dict(type="InfiniteSampler"),
            batch_size=1,
            collate_fn=dict(type="default_collate"),
        ),
        optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.1)),
        param_scheduler=cfg.param_scheduler,
        train_cfg=dict(type="IterBasedTrainLoop", max_iters=cfg.train_cfg.max_iters),
        default_hooks=dict(checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=10**6)),
        custom_hooks=[rates],
        log_level="ERROR",
        default_scope="mmseg",
        experiment_name=f"{work_dir.parent.name}_{work_dir.name}",
        **options,
    )
    runner.train()
    return rates.rates


@pytest.mark.parametrize("pair", ["carla2camvid", "scenes2scenes", "streets2cs"])
def test_rates_after_a_warm_up_are_those_of_a_whole_run(pair, tmp_path):
    assert pair in pair_names(CONFIGS)
    cfg = read_config(CONFIGS / f"source_only/deeplabv3plus_{pair}.py")
    warmup = warmup_config(cfg)
    whole = rates_of(cfg, tmp_path / "whole")
    begun = rates_of(warmup, tmp_path / "warmup")
    checkpoint = tmp_path / f"warmup/iter_{warmup.train_cfg.max_iters}.pth"
    goes_on = rates_of(cfg, tmp_path / "run", load_from=str(checkpoint), resume=True)
    assert len(begun) + len(goes_on) == len(whole) == cfg.train_cfg.max_iters
    assert {**begun, **goes_on} == whole
    assert len(set(goes_on.values())) > len(goes_on) // 2


def test_without_a_state_a_term_on_the_target_is_not_in_the_warm_up(plan):
    options = {"model.terms.adaptation.gate": None}
    run = plan("cycada_feature", options=options)["cycada_feature"]
    assert "adaptation" not in run.warmup.training.cfg.model.terms


def test_a_later_call_goes_on_from_the_warm_up_of_an_earlier_one(
    plan, benchmark_root, tmp_path, monkeypatch
):
    common = dict(out=tmp_path)
    first = plan("adaptsegnet", "advent", "drsl", **common)["drsl"].warmup
    write(first)
    # Read again it has its entries in another order, and the same content: tuples, numbers, texts.
    written = Config.fromfile(first.training.config_file)
    model = first.training.cfg.model
    assert list(written.model.discriminators) != list(model.discriminators)
    assert written.to_dict() == first.training.cfg.to_dict()
    assert isinstance(written.optim_wrapper.optimizer.betas, tuple)
    for methods in (("drsl",), ("source_only", "adaptsegnet", "dacs")):
        runs = plan(*methods, **common)
        (later,) = {id(run.warmup): run.warmup for run in runs.values()}.values()
        assert (later.hash, later.training.folder) == (first.hash, first.training.folder)
        # The log names those that the call is about.
        titles = ", ".join(run.title for run in runs.values())
        assert later.training.title.startswith(f"warm-up for {titles}, deeplab")
    alone = plan("drsl")["drsl"]
    assert alone.warmup.hash != first.hash
    assert plan("drsl", **common)["drsl"].hash == alone.hash

    def is_found(*methods, **changes):
        found = plan(*methods, **{**common, **changes})[methods[0]].warmup
        return found.training.config_file == first.training.config_file

    # A discriminator that did not learn in it, for one of the methods.
    assert not is_found("drsl", "cycada_feature")
    # Another classifier of that name, other steps of the segmentor, other modes.
    assert not is_found("seg_uncertainty")
    assert not is_found("drsl", options={"optim_wrapper.optimizer.lr": 0.1})
    assert not is_found("drsl", options={"default_hooks.modes.kmeans_iteration": 7})
    listed = benchmark_root / "camvid/train.txt"
    names = listed.read_text()
    try:
        listed.write_text(names.splitlines()[0] + "\n")
        assert not is_found("drsl")
    finally:
        listed.write_text(names)
    monkeypatch.setattr(mmdrsl, "__version__", "0")
    assert not is_found("drsl")


def test_a_warm_up_without_a_hook_that_is_wanted_is_no_earlier_one(plan, tmp_path):
    # The modes learn in both, but nothing seeds them in the first.
    first = plan("drsl", out=tmp_path, options={"default_hooks.modes": None})["drsl"].warmup
    write(first)
    assert set(first.training.cfg.model.heads) == {"mmdl"}
    assert plan("drsl", out=tmp_path)["drsl"].warmup.hash != first.hash
    assert plan("source_only", out=tmp_path)["source_only"].warmup.hash == first.hash


def test_of_several_earlier_warm_ups_a_trained_one_is_taken(plan, tmp_path):
    found = [plan(name, out=tmp_path)[name].warmup for name in ("drsl", "advent")]
    for trained in found:
        write(trained)
    for trained in found:
        trained.training.folder.mkdir(exist_ok=True)
        trained.training.checkpoint.touch()
        assert plan("source_only", out=tmp_path)["source_only"].warmup.hash == trained.hash
        trained.training.checkpoint.unlink()


@pytest.mark.parametrize(
    "options",
    [
        {"model.heads_shape_warmup": True},
        {"optim_wrapper.clip_grad": {"max_norm": 1.0}},
        {"optim_wrapper.type": "AmpOptimWrapper"},
        {"model.terms.further": {"type": "SegmentationTerm", "domain": "source"}},
        {"default_hooks.modes.kmeans_iteration": 100},
    ],
)
def test_what_would_change_the_segmentor_or_a_head_is_not_joined(options):
    source, drsl = (warmup_config(method_config(name)) for name in ("self_training", "drsl"))
    assert joined_warmup(source, drsl) is not None
    changed = copy.deepcopy(drsl)
    changed.merge_from_dict(options)
    assert joined_warmup(drsl, changed) is None
    # Two runs that begin alike share whatever that is.
    assert joined_warmup(changed, copy.deepcopy(changed)) is changed
    if "default_hooks.modes.kmeans_iteration" not in options:
        assert joined_warmup(source, changed) is None


def test_what_acts_in_the_rounds_alone_leaves_the_warm_up(plan):
    def drsl(**options):
        return plan("drsl", options=options)["drsl"].warmup.hash

    later = {
        "model.terms.alignment.weight": 0.0,
        "model.terms.metric_target.weight": 0.0,
        "default_hooks.self_training.rounds.0.portion": 0.1,
        "default_hooks.adabn": dict(type="AdaBNHook", target_weight=0.5),
        "model.bn_mode": "frozen",
    }
    assert drsl(**later) == drsl(**{"model.bn_mode": "separate"}) == drsl()
    # Modes are seeded under the statistics of a domain's own batches.
    for name, value in (("model.terms.metric.weight", 0.2), ("model.bn_mode", "domain_specific")):
        assert drsl(**{name: value}) != drsl()


@pytest.mark.parametrize(
    "change",
    [
        {"model.heads": {"mmdl": {"type": "MMDLHead"}}},
        {"model.terms.extra": {"type": "SegmentationTerm", "domain": "source"}},
        {"model.terms.extra": {"type": "ModeMetricTerm", "domain": "source"}},
        {"model.discriminators": {"output": {"type": "DomainDiscriminator"}}},
        {"default_hooks.modes": {"type": "ModeMaintenanceHook"}},
        {"custom_hooks": [{"type": "ModeMonitorHook"}]},
    ],
)
def test_what_is_trained_on_the_source_is_part_of_the_warm_up(change):
    cfg = method_config("self_training")
    before = warmup_config(cfg).to_dict()
    cfg.merge_from_dict(change)
    assert warmup_config(cfg).to_dict() != before


@pytest.mark.parametrize(
    "change",
    [
        {"default_hooks.teacher.begin": 599},
        # Of another package: nobody knows what it does.
        {"custom_hooks": [{"type": "EMAHook"}]},
        {"default_hooks.more": {"type": "EMAHook"}},
    ],
)
def test_what_may_act_on_the_segmentor_before_the_rounds_forbids_sharing(change):
    cfg = method_config("self_training")
    assert warmup_config(cfg) is not None
    cfg.merge_from_dict(change)
    assert warmup_config(cfg) is None


def test_a_hook_that_forbids_sharing_leaves_its_method_a_warm_up_of_its_own(plan):
    runs = plan("source_only", "drsl", options={"custom_hooks": [{"type": "EMAHook"}]})
    assert [run.warmup for run in runs.values()] == [None, None]
    assert runs["drsl"].training.first_step == 0
    assert runs["drsl"].training.warmup_checkpoint is None


def test_a_hook_must_say_whether_it_acts_in_the_warm_up():
    with pytest.raises(TypeError, match="Undeclared must set acts_in_warmup: True where it acts"):

        class Undeclared(AdaptationHook):
            pass

    class Declared(AdaptationHook):
        acts_in_warmup = True

    class Further(Declared):
        pass

    assert Further.acts_in_warmup
    assert Further.changes_segmentor
    assert Further.allows_shared_warmup({}, 600)


def test_seeds_and_tricks_have_warm_ups_of_their_own(plan):
    usual, other = (plan("drsl", seeds=(seed,))["drsl"].warmup for seed in (0, 1))
    assert usual.hash != other.hash
    tricks = ("rare_class_sampling", "target_augmentation")
    rare, augmented = (plan("drsl", seeds=(0,), tricks=(name,))["drsl"].warmup for name in tricks)
    assert rare.hash != usual.hash
    # What the student sees of the target is no part of a warm-up on the source.
    assert augmented.hash == usual.hash
    assert augmented.training.folder.parts[-4:] == (
        *("target_augmentation", "deeplabv3plus_mobilenetv2", "seed_0"),
        usual.training.folder.name,
    )
