"""What mode learning and mode alignment add to a training step: time and memory against plain self-training.

python tools/analysis_tools/benchmark_step.py CONFIG [--json] [--amp] [--crop-size H W] [--batch-size N]
    [--steps N] [--device cpu|cuda] [--cfg-options KEY=VALUE ...]

The plain step is CONFIG without its multi-modal distribution heads and without every term that reads one. Both models
train on the same synthetic two-domain batch, in turns, each step being forward, backward and optimizer. Nothing is read
from disk but the config.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

import mmdrsl  # noqa: F401 - registers everything before a config is built
from mmdrsl.engine.config_options import add_config_options, override
from mmdrsl.engine.hooks.mean_teacher_hook import AVERAGE
from mmdrsl.engine.launch import read_config, run_tool
from mmdrsl.methods.drsl.mmdl_head import MMDLHead
from mmdrsl.models.adaptation_step import AdaptationProgress
from mmdrsl.models.segmentors.uda_segmentor import UDASegmentor

IGNORED = 255
# Labels come in blocks, as objects do; pseudo labels cover about this share of the target.
LABEL_BLOCK = 32
PSEUDO_LABEL_SHARE = 0.3
# After every ramp.
ADAPTATION_ITERATION = 1_000_000


@dataclass
class Candidate:
    """One of the two models with its optimizer.

    Attributes:
        model: The adaptor, in training mode on the device.
        optim_wrapper: Its optimizer.
    """

    model: UDASegmentor
    optim_wrapper: OptimWrapper


def mode_terms(cfg: Config) -> tuple[list[str], list[str]]:
    """Names of the multi-modal distribution heads of a config and of the terms that read them.

    Raises:
        ValueError: The config has no such head, or no term that reads one.
    """
    model = MODELS.build(copy.deepcopy(cfg.model))
    if not isinstance(model, UDASegmentor):
        raise ValueError(
            f"{cfg.filename}: model.type is {cfg.model.type}, expected UDASegmentor: give a config that adapts."
        )
    heads = [name for name, head in model.heads.items() if isinstance(head, MMDLHead)]
    terms = [name for name, term in model.terms.items() if getattr(term, "head", None) in heads]
    if not terms:
        raise ValueError(
            f"{cfg.filename} has no term that reads an MMDLHead, only {sorted(model.terms)}: give a config that "
            "learns modes."
        )
    return heads, terms


def plain_model(cfg: Config, heads: list[str], terms: list[str]) -> dict:
    """The config's model without these heads and terms."""
    model = copy.deepcopy(cfg.model)
    for name in heads:
        del model.heads[name]
    for name in terms:
        del model.terms[name]
    return model


def build_candidate(model: dict, cfg: Config, device: torch.device, amp: bool) -> Candidate:
    """Build a model in training mode as it is in the rounds, and its optimizer."""
    torch.manual_seed(0)
    built = MODELS.build(model).to(device).train()
    built.progress = AdaptationProgress(round=1, adaptation_iteration=ADAPTATION_ITERATION)
    # What hooks do between steps is not measured.
    built.calls_after_step = True
    if any(term.needs_teacher for term in built.terms.values()):
        built.add_teacher(AVERAGE)
        built.teacher.update_parameters(built.networks())
    wrapper = copy.deepcopy(cfg.optim_wrapper)
    if amp:
        wrapper.type, wrapper.loss_scale = "AmpOptimWrapper", "dynamic"
    return Candidate(built, build_optim_wrapper(built, wrapper))


def synthetic_batch(
    num_source: int, num_target: int, crop_size: tuple[int, ...], num_classes: int
) -> dict:
    """Images of noise and labels in blocks, as a loader's collated batch on the CPU.

    Args:
        num_source: Number of labeled source images.
        num_target: Number of target images, of which a share of the blocks has pseudo labels.
        crop_size: (height, width).
        num_classes: Number of classes.
    """
    generator = torch.Generator().manual_seed(0)
    height, width = crop_size
    images, samples = [], []
    for index in range(num_source + num_target):
        size = (-(-height // LABEL_BLOCK), -(-width // LABEL_BLOCK))
        blocks = torch.randint(num_classes, size, generator=generator)
        domain = "source" if index < num_source else "target"
        if domain == "target":
            blocks[torch.rand(size, generator=generator) >= PSEUDO_LABEL_SHARE] = IGNORED
        labels = blocks.repeat_interleave(LABEL_BLOCK, 0).repeat_interleave(LABEL_BLOCK, 1)
        metainfo = dict(domain=domain, img_shape=crop_size, ori_shape=crop_size)
        data = PixelData(data=labels[None, :height, :width])
        samples.append(SegDataSample(gt_sem_seg=data, metainfo=metainfo))
        images.append(torch.randint(256, (3, *crop_size), generator=generator, dtype=torch.uint8))
    return dict(inputs=images, data_samples=samples)


def timed(step: Callable[[], object], device: torch.device) -> float:
    """Wall time of a step in milliseconds."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    begin = time.perf_counter()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return 1000 * (time.perf_counter() - begin)


def resident_bytes(candidate: Candidate) -> int:
    """Bytes of parameters, buffers and optimizer state."""
    optimizer: torch.optim.Optimizer = candidate.optim_wrapper.optimizer
    states = [value for state in optimizer.state.values() for value in state.values()]
    tensors = [*candidate.model.parameters(), *candidate.model.buffers(), *states]
    return sum(t.numel() * t.element_size() for t in tensors if isinstance(t, Tensor))


def peak_bytes(step: Callable[[], object], device: torch.device) -> int:
    """Most memory that a step holds at once on the device, above what was held before it.

    On the CPU this is what torch's allocator hands out, followed by the profiler: exact, and free of the interpreter's
    own memory.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        step()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        step()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profile.export_chrome_trace(str(path))
        events = json.loads(path.read_text())["traceEvents"]
    changes = [event["args"] for event in events if event.get("name") == "[memory]"]
    before = changes[0]["Total Allocated"] - changes[0]["Bytes"]
    return max(change["Total Allocated"] for change in changes) - before


def measure(
    candidates: dict[str, Candidate], batch: dict, device: torch.device, warmup: int, steps: int
) -> dict:
    """Alternate the two models; paired times, and peak memory in one more step each.

    Args:
        candidates: ``plain`` and ``drsl``.
        batch: Collated batch.
        device: Where the models are.
        warmup: Steps of each model that are not counted.
        steps: Steps of each model that are.

    Returns:
        The numbers of the report.
    """

    def step_of(name: str) -> Callable[[], object]:
        candidate = candidates[name]
        return lambda: candidate.model.train_step(copy.copy(batch), candidate.optim_wrapper)

    times: dict[str, list[float]] = {"plain": [], "drsl": []}
    for index in range(warmup + steps):
        # Who goes first alternates too, so that neither profits from what the other left behind.
        for name in ("plain", "drsl") if index % 2 == 0 else ("drsl", "plain"):
            elapsed = timed(step_of(name), device)
            if index >= warmup:
                times[name].append(elapsed)
    ratios = [drsl / plain for drsl, plain in zip(times["drsl"], times["plain"], strict=True)]
    memory = {
        name: resident_bytes(candidate) + peak_bytes(step_of(name), device)
        for name, candidate in candidates.items()
    }
    return dict(
        ratio=statistics.median(ratios),
        ratio_min=min(ratios),
        ratio_max=max(ratios),
        plain_ms=statistics.median(times["plain"]),
        drsl_ms=statistics.median(times["drsl"]),
        memory_ratio=memory["drsl"] / memory["plain"],
        plain_mib=memory["plain"] / 2**20,
        drsl_mib=memory["drsl"] / 2**20,
    )


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Cost of mode learning and mode alignment")
    parser.add_argument("config", help="a config that adapts with an MMDLHead")
    parser.add_argument("--json", action="store_true", help="last line: one JSON object")
    parser.add_argument("--amp", action="store_true", help="automatic mixed precision (CUDA)")
    parser.add_argument("--crop-size", type=int, nargs=2, metavar=("H", "W"), help="of images")
    parser.add_argument("--batch-size", type=int, help="images of both domains together")
    parser.add_argument("--warmup", type=int, default=3, help="steps not counted, per model")
    parser.add_argument("--steps", type=int, default=20, help="steps counted, per model")
    parser.add_argument(
        "--device", choices=["cpu", "cuda"], help="default: CUDA where there is one"
    )
    add_config_options(parser)
    return parser.parse_args()


def main() -> None:
    """Measure and report.

    Raises:
        ValueError: The config does not adapt with modes, an option is out of range, or --amp without CUDA.
    """
    args = parse_args()
    cfg = read_config(args.config)
    override(cfg, args.cfg_options)
    init_default_scope(cfg.default_scope)
    device = torch.device(args.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if args.amp and device.type != "cuda":
        raise ValueError(
            "--amp needs CUDA: on a CPU MMEngine's mixed precision is not what anyone trains with."
        )
    torch.backends.cudnn.benchmark = cfg.get("env_cfg", {}).get("cudnn_benchmark", False)
    crop_size = tuple(args.crop_size or cfg.crop_size)
    batch_size = args.batch_size or cfg.train_dataloader.batch_size
    if batch_size < 2 or args.steps < 1 or args.warmup < 0:
        raise ValueError(
            "--batch-size must be at least 2 (one image per domain), --steps 1 and --warmup 0, found "
            f"{batch_size}, {args.steps}, {args.warmup}."
        )
    heads, terms = mode_terms(cfg)
    plain = plain_model(cfg, heads, terms)
    candidates = {
        "plain": build_candidate(plain, cfg, device, args.amp),
        "drsl": build_candidate(copy.deepcopy(cfg.model), cfg, device, args.amp),
    }
    num_target = batch_size // 2
    batch = synthetic_batch(
        batch_size - num_target, num_target, crop_size, candidates["plain"].model.num_classes
    )
    result = dict(
        measure(candidates, batch, device, args.warmup, args.steps),
        config=args.config,
        removed_terms=terms,
        plain_terms=sorted(plain["terms"]),
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        threads=torch.get_num_threads(),
        amp=args.amp,
        crop_size=list(crop_size),
        num_source=batch_size - num_target,
        num_target=num_target,
        warmup=args.warmup,
        steps=args.steps,
    )
    print(
        f"plain {result['plain_ms']:.1f} ms, with modes {result['drsl_ms']:.1f} ms, ratio {result['ratio']:.3f}; "
        f"memory {result['plain_mib']:.0f} and {result['drsl_mib']:.0f} MiB, ratio {result['memory_ratio']:.3f}"
    )
    if args.json:
        print(json.dumps(result))


if __name__ == "__main__":
    run_tool("benchmark_step", main)
