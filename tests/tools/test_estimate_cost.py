import json
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from torch import nn

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools" / "analysis_tools"))
import benchmark_step  # noqa: E402
import estimate_cost  # noqa: E402

CONFIG = str(ROOT / "configs/drsl/deeplabv3plus_scenes2scenes.py")


def convolution_operations(model, step):
    """Two operations per multiplication of every forward convolution, counted from its shapes."""
    found = []

    def count(module, inputs, output):
        taps = module.weight[0].numel()
        found.append(2 * taps * output.numel())

    handles = [
        module.register_forward_hook(count)
        for module in model.modules()
        if isinstance(module, nn.Conv2d)
    ]
    step()
    for handle in handles:
        handle.remove()
    return sum(found)


def test_estimate_is_what_a_full_step_takes(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["estimate_cost.py", CONFIG, "--json", "--teraflops", "0.5"])
    estimate_cost.main()
    found = json.loads(capsys.readouterr().out.splitlines()[-1])

    cfg = Config.fromfile(CONFIG)
    device = torch.device("cpu")
    candidate = benchmark_step.build_candidate(cfg.model, cfg, device, amp=False)
    batch = benchmark_step.synthetic_batch(2, 2, (128, 256), 19)

    def step():
        candidate.model.train_step(dict(batch), candidate.optim_wrapper)

    forward = convolution_operations(candidate.model, step)
    peak = benchmark_step.peak_bytes(step, device)
    held = benchmark_step.resident_bytes(candidate)
    assert found["gibibytes"] == pytest.approx((held + peak) / 2**30, rel=0.05)
    # Backward takes twice the forward operations, but for the images, which need no gradient; the modes come on top.
    assert found["teraflop_per_step"] == pytest.approx(3 * forward / 1e12, rel=0.05)
    assert found["hours"] == pytest.approx(
        cfg.train_cfg.max_iters * found["teraflop_per_step"] / 0.5 / 3600
    )
    assert found["crop_size"] == [128, 256]
    trained = sum(p.numel() for p in candidate.model.parameters() if p.requires_grad)
    assert (found["images"], found["parameters"]) == (4, trained)


def test_what_cannot_be_estimated_is_named():
    with pytest.raises(ValueError, match="--teraflops must be above 0, found 0"):
        estimate_cost.estimate(CONFIG, None, 0.0)
    with pytest.raises(ValueError, match="sides of at least 128 pixels"):
        estimate_cost.estimate(CONFIG, {"crop_size": (96, 128)}, 1.0)
