"""What a training will need on a machine that is not here: memory, operations, and hours at a given speed.

python tools/analysis_tools/estimate_cost.py CONFIG [CONFIG ...] [--teraflops 20] [--json] [--cfg-options KEY=VALUE ...]

Trains single steps on synthetic batches of a quarter and of half the crop's sides on the CPU, follows the allocator
and counts the operations of convolutions and matrix products, forward and backward. Both grow linearly with the
pixels, so a line through the two gives the full crop; attention grows faster, and SegFormer needs more than this says.
That is no measurement on a GPU: workspaces of cuDNN, fragments and the context (a gigabyte or two) come on top, and
the hours are the operations divided by a speed that is given, without loading, labeling and evaluation. Where there
is a GPU, benchmark_step.py measures.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from benchmark_step import build_candidate, peak_bytes, resident_bytes, synthetic_batch
from mmengine.registry import init_default_scope
from torch.utils.flop_counter import FlopCounterMode

from mmdrsl.engine.config_options import add_config_options, override
from mmdrsl.engine.launch import read_config, run_tool

# Sides of the two measured crops as shares of the full ones, and what they are cut to: the networks' output strides.
SHARES = (0.25, 0.5)
STRIDE = 32
TERA = 1e12


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Estimated cost of a training.

    Attributes:
        config: Its config.
        parameters: Trained parameters.
        images: Images per step.
        crop_size: (height, width) in pixels.
        steps: Steps of the whole run.
        gibibytes: Tensors that a step of the rounds holds at most, resident ones included.
        teraflop_per_step: Operations of a step of the rounds, in 1e12; a multiplication with an addition counts two.
        hours: Of all steps at the given speed.
    """

    config: str
    parameters: int
    images: int
    crop_size: tuple[int, int]
    steps: int
    gibibytes: float
    teraflop_per_step: float
    hours: float


def estimate(config: str, options: dict | None, teraflops: float) -> Cost:
    """Measure two small steps of a config and extrapolate.

    Args:
        config: Path of the config.
        options: Entries to override.
        teraflops: Speed in 1e12 operations per second, > 0.

    Returns:
        The estimate.

    Raises:
        ValueError: The speed is not positive, or the crop too small for two sizes below it.
    """
    if teraflops <= 0:
        raise ValueError(f"--teraflops must be above 0, found {teraflops}.")
    cfg = read_config(config)
    override(cfg, options)
    init_default_scope(cfg.default_scope)
    height, width = cfg.crop_size
    crops = [
        tuple(int(side * share) // STRIDE * STRIDE for side in (height, width)) for share in SHARES
    ]
    if min(crops[0]) < STRIDE or crops[0] == crops[1]:
        raise ValueError(
            f"{config}: crop_size {(height, width)} leaves the sizes {crops} to measure; expected sides of at least "
            f"{int(STRIDE / SHARES[0])} pixels."
        )
    candidate = build_candidate(copy.deepcopy(cfg.model), cfg, torch.device("cpu"), amp=False)
    images = int(cfg.train_dataloader.batch_size)
    num_target = images // 2
    classes = candidate.model.num_classes

    def step(crop: tuple[int, ...]) -> int:
        batch = synthetic_batch(images - num_target, num_target, crop, classes)
        with FlopCounterMode(display=False) as counter:
            candidate.model.train_step(batch, candidate.optim_wrapper)
        counts = counter.get_flop_counts()["Global"]
        convolutions = counts.pop(torch.ops.aten.convolution, 0)
        # Backward once for the weights and once for the inputs; torch counts grouped ones as if they were not.
        counts.pop(torch.ops.aten.convolution_backward, None)
        return 3 * convolutions + sum(counts.values())

    # The first step makes the optimizer's state, which is resident from then on.
    step(crops[0])
    pixels: list[int] = []
    peaks: list[int] = []
    operations: list[int] = []
    for crop in crops:
        peaks.append(
            peak_bytes(lambda crop=crop: operations.append(step(crop)), torch.device("cpu"))
        )
        pixels.append(crop[0] * crop[1])

    def at_full_size(values: Sequence[float]) -> float:
        slope = (values[1] - values[0]) / (pixels[1] - pixels[0])
        return values[1] + slope * (height * width - pixels[1])

    flop = at_full_size(operations)
    steps = int(cfg.train_cfg.max_iters)
    return Cost(
        config=config,
        parameters=sum(p.numel() for p in candidate.model.parameters() if p.requires_grad),
        images=images,
        crop_size=(height, width),
        steps=steps,
        gibibytes=(resident_bytes(candidate) + at_full_size(peaks)) / 2**30,
        teraflop_per_step=flop / TERA,
        hours=steps * flop / (teraflops * TERA) / 3600,
    )


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Estimated memory and hours of a training")
    parser.add_argument("configs", nargs="+", metavar="CONFIG", help="configs that adapt")
    parser.add_argument(
        "--teraflops", type=float, default=20.0, help="1e12 operations per second that are reached"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    add_config_options(parser)
    return parser.parse_args()


def main() -> None:
    """Estimate and print."""
    args = parse_args()
    for config in args.configs:
        cost = estimate(config, args.cfg_options, args.teraflops)
        if args.json:
            print(json.dumps(asdict(cost)), flush=True)
            continue
        height, width = cost.crop_size
        print(
            f"{config}: {cost.parameters / 1e6:.1f} million parameters; {cost.images} images of {height} x {width}: "
            f"{cost.gibibytes:.1f} GiB, {cost.teraflop_per_step:.2f} TFLOP a step; {cost.steps} steps: "
            f"{cost.hours:.1f} hours at {args.teraflops:g} TFLOP/s",
            flush=True,
        )


if __name__ == "__main__":
    run_tool("estimate_cost", main)
