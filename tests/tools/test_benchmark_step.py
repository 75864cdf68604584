import json
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "analysis_tools"))
import benchmark_step  # noqa: E402

CONFIG = "configs/drsl/deeplabv3plus_scenes2scenes.py"
TWIN = "configs/mrkld/deeplabv3plus_scenes2scenes.py"


@pytest.fixture
def run(monkeypatch, capsys):
    def call(config, *options):
        monkeypatch.setattr(sys, "argv", ["benchmark_step.py", str(ROOT / config), *options])
        benchmark_step.main()
        return capsys.readouterr().out.strip().splitlines()

    return call


def test_reports_one_object_on_the_last_line(run):
    options = ("--crop-size", "32", "64", "--batch-size", "5", "--steps", "2", "--warmup", "1")
    report = json.loads(run(CONFIG, "--json", "--device", "cpu", *options)[-1])
    assert report["plain_ms"] > 0
    assert report["ratio_min"] <= report["ratio"] <= report["ratio_max"]
    # The heavier model holds more: its head's weights, optimizer state and activations.
    assert report["drsl_mib"] > report["plain_mib"] > 0
    assert report["memory_ratio"] == pytest.approx(report["drsl_mib"] / report["plain_mib"])
    assert (report["num_source"], report["num_target"]) == (3, 2)
    assert report["crop_size"] == [32, 64]


def test_plain_step_is_that_of_self_training():
    cfg = Config.fromfile(str(ROOT / CONFIG))
    heads, terms = benchmark_step.mode_terms(cfg)
    assert heads == ["mmdl"]
    assert {"metric", "metric_target", "alignment"} <= set(terms)
    plain = MODELS.build(benchmark_step.plain_model(cfg, heads, terms))
    twin = MODELS.build(Config.fromfile(str(ROOT / TWIN)).model)
    assert plain.terms.keys() == twin.terms.keys()
    assert plain.state_dict().keys() == twin.state_dict().keys()
    assert "mmdl" in cfg.model.heads


@pytest.mark.parametrize("method", ["dacs", "cycada_feature"])
def test_what_hooks_keep_is_there_for_one_step(method):
    cfg = Config.fromfile(str(ROOT / f"configs/{method}/deeplabv3plus_scenes2scenes.py"))
    candidate = benchmark_step.build_candidate(cfg.model, cfg, torch.device("cpu"), amp=False)
    batch = benchmark_step.synthetic_batch(2, 2, (64, 64), 19)
    values = candidate.model.train_step(batch, candidate.optim_wrapper)
    assert {name.split(".")[0] for name in values} - {"loss"} == set(cfg.model.terms)


def test_both_models_do_their_whole_work():
    cfg = Config.fromfile(str(ROOT / CONFIG))
    drsl = benchmark_step.build_candidate(cfg.model, cfg, torch.device("cpu"), amp=False)
    batch = benchmark_step.synthetic_batch(2, 2, (64, 64), 19)
    before = {name: value.clone() for name, value in drsl.model.named_parameters()}
    values = drsl.model.train_step(batch, drsl.optim_wrapper)
    for name in ("metric.loss_source", "metric_target.loss_target", "target.loss_ce"):
        assert values[name] > 0
    assert "alignment.loss_alignment" in values
    moved = {n for n, value in drsl.model.named_parameters() if not torch.equal(value, before[n])}
    assert {"heads.mmdl.representatives", "segmentor.decode_head.conv_seg.weight"} <= moved


def test_peak_memory_is_exact():
    def step():
        first = torch.ones(1000, 256)
        second = torch.ones(500, 256)
        del second
        third = torch.ones(250, 256)
        return first.numel() + third.numel()

    assert benchmark_step.peak_bytes(step, torch.device("cpu")) == 1500 * 256 * 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((TWIN,), "give a config that learns modes"),
        ((CONFIG, "--amp", "--device", "cpu"), "--amp needs CUDA"),
        ((CONFIG, "--batch-size", "1"), "--batch-size must be at least 2"),
    ],
)
def test_refuses(run, options, message):
    with pytest.raises(ValueError, match=message):
        run(*options)
