from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

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
        # KITTI has no labelled images but those of the evaluation, hence no oracle.
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
    plain = {"source", "target", "regularisation"}
    assert plain <= terms["no_mmdl"]
    assert "heads" not in model("no_mmdl")
    assert terms["mmdl_source"] - terms["no_mmdl"] == {"metric"}
    assert terms["mmdl_source_target"] - terms["mmdl_source"] == {"metric_target"}
    assert set(full.terms) - terms["mmdl_source_target"] == {"alignment"}
    assert model("one_mode").heads.mmdl.num_modes == 1
    early = model("early_features")
    features = MODELS.build(early.segmentor).extract_feat(torch.zeros(2, 3, 32, 64))
    MODELS.build(early.heads.mmdl)(features)
    assert early.heads.mmdl.in_index < full.heads.mmdl.in_index
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
def test_drsl_steps_on_every_task_model(model, source):
    cfg = load(f"configs/drsl/{model}_{source}2cs.py").model
    # Reduced width: the same classes, a fraction of the time.
    backbone, head = cfg.segmentor.backbone, cfg.segmentor.decode_head
    if model == "segnet":
        backbone.width = 0.125
        head.in_channels = (8, 16, 32, 64, 64)
        cfg.heads.mmdl.in_channels = 64
    else:
        backbone.update(depth=18, stem_channels=8, base_channels=8)
        head.update(in_channels=64, channels=16)
        if "c1_in_channels" in head:
            head.update(c1_in_channels=8, c1_channels=8)
        cfg.heads.mmdl.in_channels = 64
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
    total.backward()
    assert torch.isfinite(total)
    assert {
        "source.loss_ce",
        "target.loss_ce",
        "metric_target.loss_target",
        "alignment.loss_alignment",
    } <= set(values)
    missing = [name for name, p in adaptor.named_parameters() if p.requires_grad and p.grad is None]
    assert missing == []
