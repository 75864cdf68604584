"""How much labeling costs beyond the prediction itself, and whether its memory grows with the number of images.

python tools/analysis_tools/benchmark_labeling.py CONFIG [--num-images 60] [--few 100] [--many 1000] [--json]

Throughput: images labeled end to end (decode, views, choice, writing) against bare inference (the same views, decoded
tensors, argmax only) on the same images, in turns in one process. Memory: peak resident memory for `--many` images (the
list repeated) over that for `--few`, each in a fresh process. Weights are random: neither depends on them. The last
line with --json is one JSON object with at least throughput_ratio and memory_ratio.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope

import mmdrsl  # noqa: F401 - registers everything before a config is built
from mmdrsl.engine.config_options import add_config_options, override
from mmdrsl.engine.labeling import Labeling, build_labeling
from mmdrsl.engine.launch import read_config, run_tool
from mmdrsl.pseudo_labels.artifact import PseudoLabelArtifact


class RepeatedImages:
    """The images of a dataset over and over, each time under another name.

    Args:
        dataset: The dataset.
        length: Number of images wanted.
    """

    def __init__(self, dataset: Any, length: int) -> None:
        self.dataset = dataset
        self.length = length
        self.metainfo = dataset.metainfo

    def __len__(self) -> int:
        return self.length

    def get_data_info(self, index: int) -> dict:
        """Description of one image."""
        time_around, original = divmod(index, len(self.dataset))
        info = self.dataset.get_data_info(original)
        return {**info, "sample_id": f"{info['sample_id']}_{time_around}"}

    def __getitem__(self, index: int) -> Any:
        return self.dataset.pipeline(self.get_data_info(index))


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Benchmark the labeling")
    parser.add_argument("config", help="config of a self-training")
    parser.add_argument("--num-images", type=int, default=60, help="images of the throughput")
    parser.add_argument("--turns", type=int, default=3, help="turns of the throughput; the median")
    parser.add_argument("--few", type=int, default=100, help="images of the small memory run")
    parser.add_argument("--many", type=int, default=1000, help="images of the large memory run")
    parser.add_argument("--num-workers", type=int, help="loader processes; default: the hook's")
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    parser.add_argument("--memory-of", type=int, help=argparse.SUPPRESS)
    add_config_options(parser)
    return parser.parse_args()


def label(job: Labeling, images: int, num_workers: int) -> float:
    """Label images end to end; return the seconds."""
    repeated: Any = RepeatedImages(job.dataset, images)
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        job.labeler.label(
            model=job.model,
            networks=job.networks,
            dataset=repeated,
            artifact=PseudoLabelArtifact(Path(folder) / "round_1"),
            round_number=1,
            num_workers=num_workers,
        )
        return time.perf_counter() - begin


@torch.no_grad()
def infer(job: Labeling, inputs: list[torch.Tensor]) -> float:
    """Predict every view of decoded images, with argmax only; return the seconds."""
    views = job.labeler.views
    network = job.labeler.predictor(job.networks)
    begin = time.perf_counter()
    for image in inputs:
        for scale in views.scales:
            scaled = image
            if scale != 1.0:
                scaled = F.interpolate(image, scale_factor=scale, mode="bilinear")
            for view in (scaled, scaled.flip(3)) if views.flip else (scaled,):
                meta = dict(ori_shape=view.shape[2:], img_shape=view.shape[2:])
                network.inference(view, [meta])[:, : network.num_classes].argmax(dim=1).cpu()
    return time.perf_counter() - begin


def measure_throughput(job: Labeling, images: int, turns: int, num_workers: int) -> dict:
    """Seconds per image of both, in turns."""
    repeated = RepeatedImages(job.dataset, images)
    inputs = [
        job.model.data_preprocessor(pseudo_collate([repeated[index]]), False)["inputs"]
        for index in range(images)
    ]
    infer(job, inputs[:2])
    label(job, 2, num_workers)
    bare, labeling, ratios = [], [], []
    for _ in range(turns):
        bare.append(infer(job, inputs) / images)
        labeling.append(label(job, images, num_workers) / images)
        ratios.append(bare[-1] / labeling[-1])
    return {
        "bare_seconds_per_image": statistics.median(bare),
        "labeling_seconds_per_image": statistics.median(labeling),
        "throughput_ratio": statistics.median(ratios),
    }


def peak_memory() -> int:
    """Peak resident memory of this process in kilobytes; getrusage would count the parent's too."""
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0])


def measure_memory(args: argparse.Namespace, images: int) -> int:
    """Peak resident memory of labeling some images in a fresh process, in kilobytes."""
    arguments = [sys.executable, *sys.argv, "--memory-of", str(images)]
    done = subprocess.run(arguments, stdout=subprocess.PIPE, text=True, check=True)
    return int(done.stdout.strip().splitlines()[-1])


def main() -> None:
    """Measure and print."""
    args = parse_args()
    cfg = read_config(args.config)
    override(cfg, args.cfg_options)
    init_default_scope(cfg.get("default_scope", "mmseg"))
    torch.manual_seed(0)
    job = build_labeling(cfg)
    num_workers = job.num_workers if args.num_workers is None else args.num_workers
    if args.memory_of is not None:
        label(job, args.memory_of, num_workers)
        print(peak_memory())
        return
    result: dict[str, Any] = {
        "config": args.config,
        "images": args.num_images,
        "workers": num_workers,
    }
    result.update(measure_throughput(job, args.num_images, args.turns, num_workers))
    few, many = measure_memory(args, args.few), measure_memory(args, args.many)
    result.update(few_megabytes=few / 1024, many_megabytes=many / 1024, memory_ratio=many / few)
    for name, value in result.items():
        print(f"{name}: {value}")
    if args.json:
        print(json.dumps(result))


if __name__ == "__main__":
    run_tool("benchmark_labeling", main)
