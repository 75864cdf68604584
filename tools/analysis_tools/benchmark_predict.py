"""How much `mmdrsl predict` costs beyond the network itself.

python tools/analysis_tools/benchmark_predict.py CONFIG INPUT... [--checkpoint FILE] [--num-images 300] [--turns 3]
    [--batch-size N] [--confidence] [--device DEVICE] [--json]

Images predicted into a folder (labels, colors, overlays, shares) against bare inference on the same images: decode,
test pipeline, network, argmax, one after the other, nothing written. Both run in turns in one process; the throughput
ratio is the median over the turns of bare seconds by predict's seconds. The processor ratio is that of the processor
time of all threads: other programs on the machine matter little to it. Without a checkpoint weights are random, and
label maps may compress worse than those of a trained network. The last line with --json is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

import mmdrsl  # noqa: F401 - registers everything before a config is built
from mmdrsl.engine.config_options import add_config_options, override
from mmdrsl.engine.launch import read_config, run_tool
from mmdrsl.inference import (
    Input,
    OutputFolder,
    PredictionRun,
    Predictor,
    find_inputs,
    load_network,
    settings_of,
)


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Benchmark the prediction of images")
    parser.add_argument("config", help="config of a training, or an exported one")
    parser.add_argument("inputs", nargs="+", help="images, folders, patterns in quotes")
    parser.add_argument("--checkpoint", help="its checkpoint; default: random weights")
    parser.add_argument("--num-images", type=int, default=300, help="the first so many images")
    parser.add_argument("--turns", type=int, default=3, help="turns of both; the median")
    parser.add_argument("--batch-size", type=int, default=1, help="images of one size per pass")
    parser.add_argument("--confidence", action="store_true", help="write the confidence, too")
    parser.add_argument("--device", help="cpu, cuda, cuda:1; default: a GPU where there is one")
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    add_config_options(parser)
    return parser.parse_args()


@contextmanager
def random_checkpoint(cfg: Config) -> Iterator[Path]:
    """A checkpoint of a config's model as it is built."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "random.pth"
        model = MODELS.build(cfg.model)
        torch.save(dict(state_dict=model.state_dict()), path)
        yield path


class Stopwatch:
    """Seconds since it was made, on the clock and of the processor in all threads."""

    def __init__(self) -> None:
        self._begin = (time.perf_counter(), time.process_time())

    def seconds(self) -> tuple[float, float]:
        """Both."""
        clock, processor = self._begin
        return time.perf_counter() - clock, time.process_time() - processor


def infer(predictor: Predictor, images: Sequence[Input], batch_size: int) -> tuple[float, float]:
    """Load, predict and keep the labels of every image; return the seconds of clock and processor."""
    watch = Stopwatch()
    loaded = (predictor.load(item, item.path) for item in images)
    kept = [done.labels for done in predictor.predict(loaded, batch_size=batch_size)]
    if len(kept) != len(images):
        raise RuntimeError(f"Found {len(kept)} predictions, expected {len(images)}.")
    return watch.seconds()


def predict(
    predictor: Predictor, images: Sequence[Input], *, settings: dict, args: argparse.Namespace
) -> tuple[float, float]:
    """Predict every image into a new folder, as `mmdrsl predict` does; return the seconds of clock and processor."""
    with tempfile.TemporaryDirectory() as folder:
        watch = Stopwatch()
        output = OutputFolder(
            Path(folder) / "out", palette=predictor.network.palette, confidence=args.confidence
        )
        output.begin(settings, images)
        PredictionRun(
            predictor=predictor,
            output=output,
            batch_size=args.batch_size,
            confidence=args.confidence,
        ).run(images)
        return watch.seconds()


def measure(cfg: Config, checkpoint: str | Path, args: argparse.Namespace) -> dict:
    """Images per second of both, in turns.

    Args:
        cfg: The config.
        checkpoint: Its checkpoint.
        args: The command line.

    Returns:
        Number of images, images per second, throughput ratios of every turn, their median, and the processor ratio.

    Raises:
        ValueError: There is no image among the inputs.
    """
    network = load_network(cfg, checkpoint, device=args.device or get_device())
    predictor = Predictor(cfg=cfg, network=network)
    found = find_inputs(args.inputs, out=Path(tempfile.gettempdir()) / "of_the_benchmark")
    images = [item for item in found if not item.is_video][: args.num_images]
    if not images:
        raise ValueError(f"{', '.join(args.inputs)} hold videos alone: give images.")
    settings = settings_of(cfg, checkpoint, {})
    infer(predictor, images[:2], args.batch_size)
    predict(predictor, images[:2], settings=settings, args=args)
    bare, predicted = [], []
    for _ in range(args.turns):
        bare.append(infer(predictor, images, args.batch_size))
        predicted.append(predict(predictor, images, settings=settings, args=args))
    # By the clock, by the processor.
    by_clock, by_processor = (
        [one[kind] / other[kind] for one, other in zip(bare, predicted, strict=True)]
        for kind in (0, 1)
    )
    return {
        "images": len(images),
        "bare_images_per_second": len(images) / statistics.median(clock for clock, _ in bare),
        "predict_images_per_second": len(images)
        / statistics.median(clock for clock, _ in predicted),
        "throughput_ratios": by_clock,
        "throughput_ratio": statistics.median(by_clock),
        "processor_ratio": statistics.median(by_processor),
    }


def main() -> None:
    """Measure and print."""
    args = parse_args()
    cfg = read_config(args.config)
    override(cfg, args.cfg_options)
    init_default_scope(cfg.get("default_scope", "mmseg"))
    torch.manual_seed(0)
    if args.checkpoint is not None:
        result = measure(cfg, args.checkpoint, args)
    else:
        with random_checkpoint(cfg) as checkpoint:
            result = measure(cfg, checkpoint, args)
    result = {"config": args.config, **result}
    for name, value in result.items():
        print(f"{name}: {value}")
    if args.json:
        print(json.dumps(result))


if __name__ == "__main__":
    run_tool("benchmark_predict", main)
