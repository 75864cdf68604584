from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "configs").glob("*/**/*.py")
    if "_base_" not in path.parts
)


def load(path):
    return Config.fromfile(str(ROOT / path))


def distinct_models():
    """One config path per distinct model."""
    found = {}
    for path in CONFIGS:
        found.setdefault(str(load(path).model), path)
    return sorted(found.values())


def test_there_are_configs_for_every_method():
    assert len(CONFIGS) >= 32
    drsl = [Path(path) for path in CONFIGS if path.startswith("configs/drsl/")]
    names = {path.name for path in drsl if "ablations" not in path.parts}
    for method in ("source_only", "self_training", "oracle"):
        twins = {Path(path).name for path in CONFIGS if path.startswith(f"configs/{method}/")}
        # KITTI has no labeled images but those of the evaluation, hence no oracle.
        expected = {name for name in names if method != "oracle" or "2kitti" not in name}
        assert twins >= expected


@pytest.mark.parametrize("data", ["scenes2scenes", "carla2camvid"])
def test_ablations_are_what_their_names_say(data):
    def model(case):
        return load(f"configs/drsl/ablations/deeplabv3plus_{data}_{case}.py").model

    full = load(f"configs/drsl/deeplabv3plus_{data}.py").model
    terms = {
        case: set(model(case).terms) for case in ("no_mmdl", "mmdl_source", "mmdl_source_target")
    }
    plain = {"source", "target", "regularization"}
    assert plain <= terms["no_mmdl"]
    assert "heads" not in model("no_mmdl")
    assert terms["mmdl_source"] - terms["no_mmdl"] == {"metric"}
    assert terms["mmdl_source_target"] - terms["mmdl_source"] == {"metric_target"}
    assert set(full.terms) - terms["mmdl_source_target"] == {"alignment"}
    assert model("one_mode").heads.mmdl.num_modes == 1
    assert full.heads.mmdl.in_index == "decoder"
    for case, index in (("early_features", None), ("backbone_features", 3)):
        changed = model(case)
        features = MODELS.build(changed.segmentor).extract_feat(torch.zeros(2, 3, 32, 64))
        MODELS.build(changed.heads.mmdl)(features)
        assert changed.heads.mmdl.in_index == (index or changed.heads.mmdl.in_index) <= 3
    for case, share in (("own_labels", 0.0), ("one_mode", 0.5)):
        cfg = load(f"configs/drsl/ablations/deeplabv3plus_{data}_{case}.py")
        assert cfg.default_hooks.self_training.labeler.policy.second_weight == share
    for case, distance, stochastic in (
        ("alignment_pair", "pair", True),
        ("alignment_energy", "energy", True),
        ("alignment_mean", "mean", True),
        ("alignment_argmax", "pair", False),
    ):
        loss = MODELS.build(model(case).terms.alignment).loss
        assert (loss.distance, loss.stochastic) == (distance, stochastic)
        assert set(model(case).terms) == set(full.terms)


@pytest.mark.parametrize("data", ["scenes2scenes", "carla2camvid", "gta2cs"])
def test_modes_do_not_decay_and_have_a_learning_rate_of_their_own(data):
    cfg = load(f"configs/drsl/deeplabv3plus_{data}.py")
    model = MODELS.build(cfg.model)
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    (group,) = [
        group
        for group in optimizer.param_groups
        if any(p is model.heads["mmdl"].representatives for p in group["params"])
    ]
    keys = cfg.optim_wrapper.paramwise_cfg.custom_keys
    assert group["weight_decay"] == 0 < cfg.optim_wrapper.optimizer.weight_decay
    assert group["lr"] == cfg.optim_wrapper.optimizer.lr * keys["representatives"].lr_mult
    assert len(group["params"]) == 1


def test_norms_of_segformer_do_not_decay():
    cfg = load("configs/drsl/segformer_gta2cs.py")
    model = MODELS.build(cfg.model)
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    options = {
        id(parameter): (group["weight_decay"] > 0, round(group["lr"], 9))
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    norms = (nn.LayerNorm, nn.modules.batchnorm._BatchNorm)
    found = {True: set(), False: set()}
    for name, module in model.named_modules():
        for parameter in module.parameters(recurse=False):
            found[isinstance(module, norms)].add(("head" in name, *options[id(parameter)]))
    assert found[True] == {(False, False, 6e-5), (True, False, 6e-4)}
    # The modes are the exception.
    assert found[False] == {(False, True, 6e-5), (True, True, 6e-4), (True, False, 6e-4)}


COMPARED = (
    "adaptsegnet",
    "adaptsegnet_multi",
    "advent",
    "dacs",
    "minent",
    "mrkld",
    "seg_uncertainty",
)
# Methods that see target images without labels.
UNLABELED = {"adaptsegnet", "adaptsegnet_multi", "advent", "dacs", "minent"}


@pytest.mark.parametrize(
    "path", [path for path in CONFIGS if Path(path).parts[1] in COMPARED], ids=str
)
def test_methods_differ_from_self_training_in_their_terms(path):
    """Same warm-up, steps, images per step, share of target images, labels, evaluation and data."""
    method, name = Path(path).parts[1:]
    cfg, twin = load(path), load(f"configs/self_training/{name}")
    hooks, twin_hooks = cfg.default_hooks, twin.default_hooks
    assert hooks.self_training.get("online", False) is (method in UNLABELED)
    hooks.self_training.pop("online", None)
    if method == "dacs":
        # DACS has its own pace of the same average, from the first step on.
        assert hooks.teacher.pop("begin") == 0
        if "teacher" in twin_hooks:
            twin_hooks.teacher.pop("begin")
        else:
            assert not hooks.pop("teacher").get("evaluate", False)
    assert hooks == twin_hooks
    optimizer, twin_optimizer = (each.optim_wrapper.optimizer for each in (cfg, twin))
    if optimizer.type == "SGDWithAdam":
        assert optimizer.type != twin_optimizer.type == "SGD"
        optimizer.type = "SGD"
    parts = ("train_dataloader", "val_dataloader", "test_dataloader", "val_evaluator", "train_cfg",
             "optim_wrapper", "param_scheduler", "randomness", "load_from")  # fmt: skip
    assert all(cfg[part] == twin[part] for part in parts)
    assert cfg.model.segmentor == twin.model.segmentor
    assert cfg.model.terms.source == twin.model.terms.source
    changed = {key for key in cfg.model | twin.model if cfg.model.get(key) != twin.model.get(key)}
    # Where the classes' shares differ, methods without any label on the target keep the warm-up's statistics.
    is_frozen = method in UNLABELED - {"dacs"} and "scenes2scenes" not in name
    assert (cfg.model.get("normalization") == "frozen") is is_frozen
    changed -= {"normalization"} if is_frozen else set()
    assert changed <= {"terms", "heads", "heads_shape_warmup", "discriminators"}
    if "heads" in changed:
        assert cfg.model.heads_shape_warmup is False


@pytest.mark.parametrize("method", ["cycada_feature", "cycada_pixel_feature"])
@pytest.mark.parametrize("data", ["carla2camvid", "gta2cs"])
def test_cycada_on_features_keeps_the_statistics_of_the_warm_up(method, data):
    cfg = load(f"configs/{method}/deeplabv3plus_{data}.py")
    assert cfg.model.normalization == "frozen"


@pytest.mark.parametrize(
    ("method", "weights"),
    {
        "adaptsegnet": dict(source=1.0, adversarial=1e-3),
        "adaptsegnet_least_squares": dict(source=1.0, adversarial=1e-2),
        "adaptsegnet_multi": dict(
            source=1.0, source_auxiliary=0.1, adversarial=1e-3, adversarial_auxiliary=2e-4
        ),
        "advent": dict(
            source=1.0, source_auxiliary=0.1, adversarial=1e-3, adversarial_auxiliary=2e-4
        ),
        "minent": dict(source=1.0, source_auxiliary=0.1, entropy=1e-3, entropy_auxiliary=2e-4),
        "seg_uncertainty": dict(source=1.0, source_auxiliary=0.5, target=1.0),
        "mrkld": dict(source=1.0, target=1.0, regularization=0.1),
        "cycada_feature": dict(source=1.0, adaptation=0.1),
        "dacs": dict(source=1.0, mix=1.0),
    }.items(),
)
def test_terms_have_the_released_weights(method, weights):
    terms = load(f"configs/{method}/deeplabv3plus_carla2camvid.py").model.terms
    built = {name: MODELS.build(term) for name, term in terms.items()}
    assert {name: term.weight for name, term in built.items()} == weights
    if method == "adaptsegnet_least_squares":
        assert built["adversarial"].kind == "least_squares"


def test_every_compared_method_has_both_development_sets():
    for method in COMPARED:
        for data in ("carla2camvid", "scenes2scenes", "gta2cs"):
            assert f"configs/{method}/deeplabv3plus_{data}.py" in CONFIGS


@pytest.mark.parametrize("data", ["carla2camvid", "scenes2scenes", "gta2cs"])
def test_regularization_is_what_plain_self_training_lacks(data):
    full = load(f"configs/mrkld/deeplabv3plus_{data}.py")
    plain = load(f"configs/self_training/deeplabv3plus_{data}_plain.py")
    assert full.model.terms.pop("regularization").type == "ModelRegularizationTerm"
    assert full.model == plain.model


@pytest.mark.parametrize("data", ["carla2camvid", "scenes2scenes"])
def test_methods_start_from_one_segmentor(data):
    # The weights file of the backbone is not needed to see that nothing shifts the random stream.
    def start(method):
        cfg = load(f"configs/{method}/deeplabv3plus_{data}.py").model
        cfg.segmentor.backbone.pop("init_cfg", None)
        torch.manual_seed(0)
        model = MODELS.build(cfg)
        model.init_weights()
        return model.segmentor.state_dict()

    expected = start("source_only")
    for method in ("self_training", "drsl", *COMPARED):
        found = start(method)
        assert found.keys() == expected.keys()
        assert all(torch.equal(value, expected[name]) for name, value in found.items()), method


@pytest.mark.parametrize(
    "path",
    [f"configs/adaptsegnet/{name}.py" for name in
     ("deeplabv3plus_carla2camvid", "deeplabv3plus_scenes2scenes", "deeplabv2_gta2cs")],
)  # fmt: skip
def test_discriminators_learn_as_adam_at_their_own_rate(path):
    cfg = load(path)
    model = MODELS.build(cfg.model)
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    own = {id(p) for p in model.discriminators.parameters()}
    groups = [g for g in optimizer.param_groups if id(g["params"][0]) in own]
    others = [g for g in optimizer.param_groups if id(g["params"][0]) not in own]
    assert len(groups) == len(own) == 10
    assert type(optimizer).__name__ in ("AdamW", "SGDWithAdam")
    for group in groups:
        assert tuple(group["betas"]) == (0.9, 0.99)
        assert group["weight_decay"] == 0
        assert 1e-4 <= group["lr"] <= 2e-4
    assert all(group["betas"] in (None, (0.9, 0.999)) for group in others)


@pytest.mark.parametrize("path", CONFIGS)
def test_config_loads_and_says_what_it_is(path):
    cfg = load(path)
    assert cfg.model.type in ("UDASegmentor", "mmagic.CyCADA")
    assert cfg.train_cfg.max_iters > 0
    text = (ROOT / path).read_text()
    assert f"python tools/train.py {path}" in text
    schedule = cfg.default_hooks.get("self_training")
    if schedule is not None:
        total = schedule.warmup_iterations + sum(entry["iterations"] for entry in schedule.rounds)
        assert total == cfg.train_cfg.max_iters


@pytest.mark.parametrize("path", distinct_models())
def test_distinct_model_builds(path):
    model = MODELS.build(load(path).model)
    assert sum(parameter.numel() for parameter in model.parameters()) > 0


@pytest.mark.parametrize("model", ["fcn", "segnet", "deeplabv3plus"])
@pytest.mark.parametrize("source", ["gta", "synthia"])
@pytest.mark.parametrize("target", ["cs", "kitti"])
def test_drsl_steps_on_every_task_model(model, source, target):
    whole = load(f"configs/drsl/{model}_{source}2{target}.py")
    cfg = whole.model
    # Reduced width: the same classes, a fraction of the time.
    backbone, head = cfg.segmentor.backbone, cfg.segmentor.decode_head
    if model == "segnet":
        backbone.width = 0.125
        head.in_channels = (8, 16, 32, 64, 64)
        cfg.heads.mmdl.in_channels = 8
    else:
        backbone.update(depth=18, stem_channels=8, base_channels=8)
        head.update(in_channels=64, channels=16)
        if "c1_in_channels" in head:
            head.update(c1_in_channels=8, c1_channels=8)
        cfg.heads.mmdl.in_channels = 16
    adaptor = MODELS.build(cfg)
    classes = adaptor.num_classes
    generator = torch.Generator().manual_seed(0)
    samples = []
    for domain in ("source", "source", "target", "target"):
        label = torch.randint(0, classes, (1, 8, 8), generator=generator)
        label = label.repeat_interleave(8, 1).repeat_interleave(8, 2)
        samples.append(
            SegDataSample(gt_sem_seg=PixelData(data=label), metainfo=dict(domain=domain))
        )
    adaptor.progress.adaptation_iteration = 50
    values = adaptor.loss(torch.randn(4, 3, 64, 64, generator=generator), samples)
    total, _ = adaptor.parse_losses(values)
    before = {name: value.clone() for name, value in adaptor.named_parameters()}
    wrapper = build_optim_wrapper(adaptor, whole.optim_wrapper)
    wrapper.backward(total)
    missing = [name for name, p in adaptor.named_parameters() if p.requires_grad and p.grad is None]
    assert missing == []
    wrapper.step()
    assert torch.isfinite(total)
    moved = {
        name for name, value in adaptor.named_parameters() if not torch.equal(value, before[name])
    }
    assert {name.split(".")[0] for name in moved} == {"segmentor", "heads"}
    assert all(value.isfinite().all() for value in adaptor.parameters())
    assert {
        "source.loss_ce",
        "target.loss_ce",
        "metric_target.loss_target",
        "alignment.loss_alignment",
    } <= set(values)
