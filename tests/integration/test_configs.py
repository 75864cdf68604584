from pathlib import Path

import pytest
import torch
from mmengine.config import Config
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
    names = {Path(path).name for path in CONFIGS if path.startswith("configs/drsl/")}
    for method in ("source_only", "self_training", "oracle"):
        twins = {Path(path).name for path in CONFIGS if path.startswith(f"configs/{method}/")}
        # KITTI has no labelled images but those of the evaluation, hence no oracle.
        expected = {name for name in names if method != "oracle" or "2kitti" not in name}
        assert twins >= expected


@pytest.mark.parametrize("path", CONFIGS)
def test_config_loads_and_says_what_it_is(path):
    cfg = load(path)
    assert cfg.model.type == "UDASegmentor"
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
