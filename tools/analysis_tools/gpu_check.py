"""What trainings cost on this machine's GPU: time and memory of a step, speed of prediction, one short adaptation.

python tools/analysis_tools/gpu_check.py [--out FILE] [--page docs/costs.md] [--minutes 8] [--reduced] [--again]

A list of small measurements, the most important first, each written to FILE (JSON) when it is made. The command stops
after the given minutes; the same command goes on with what is left, so an hour can be spent in parts. --page puts the
tables into a page between its markers. --reduced takes small images and short runs, for a machine without a GPU, where
the figures mean nothing. `make gpu-check` goes on until all is measured.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from benchmark_step import build_candidate, peak_bytes, resident_bytes, synthetic_batch, timed
from mmengine.config import Config
from mmengine.registry import init_default_scope

import mmdrsl  # noqa: F401 - registers everything before a config is built
from mmdrsl.atomic_files import replacing
from mmdrsl.engine.launch import read_config
from mmdrsl.installation import configs_folder, tools_folder
from mmdrsl.versions import environment

# The most important first. The file's place below configs/.
HEADLINE = (
    "drsl/deeplabv3plus_gta2cs",
    "mic/deeplabv3plus_gta2cs",
    "daformer/daformer_mitb5_gta2cs",
    "mic/mic_hrda_mitb5_gta2cs",
    "vfm_uda/dinov2_vitb_gta2cs",
    "drsl/segformer_gta2cs",
    "drsl_mic/deeplabv3plus_gta2cs",
    "hrda/hrda_mitb5_gta2cs",
    "drsl/fcn_gta2cs",
    "drsl/segnet_gta2cs",
)
VARIANTS: dict[str, dict[str, Any]] = {
    "fp32": {},
    "bf16": {"amp": "bfloat16"},
    "fp16": {"amp": "float16"},
    "channels_last": {"memory_format": "channels_last"},
    "bf16, channels_last": {"amp": "bfloat16", "memory_format": "channels_last"},
    "checkpointing": {"checkpointing": True},
    "compiled": {"compile": True},
}
SCENES = "drsl/deeplabv3plus_scenes2scenes"
BEGIN, END = "<!-- gpu_check: begin -->", "<!-- gpu_check: end -->"
REDUCED_CROP = (64, 64)


def config_of(name: str, variant: dict) -> Config:
    """A headline config under a variant.

    Args:
        name: Place below the configs folder, without ending.
        variant: Entry of `VARIANTS`; building fails where a backbone has no ``with_cp``.
    """
    cfg = read_config(configs_folder() / f"{name}.py")
    init_default_scope(cfg.get("default_scope", "mmseg"))
    cfg.model.segmentor.backbone.pop("init_cfg", None)
    if "memory_format" in variant:
        cfg.model.memory_format = variant["memory_format"]
    if variant.get("checkpointing"):
        cfg.model.segmentor.backbone.with_cp = True
    if "amp" in variant:
        cfg.optim_wrapper.update(type="AmpOptimWrapper", dtype=variant["amp"])
    return cfg


def measure_step(name: str, variant: dict, *, reduced: bool, device: torch.device) -> dict:
    """Time and memory of a training step in the rounds, at the config's batch and crop."""
    torch.manual_seed(0)
    cfg = config_of(name, variant)
    crop = REDUCED_CROP if reduced else tuple(cfg.crop_size)
    size = cfg.train_dataloader.batch_size
    if reduced:
        cfg.model.crop_size = crop
    candidate = build_candidate(copy.deepcopy(cfg.model), cfg, device, False)
    if variant.get("compile"):
        candidate.model.compile()
    batch = synthetic_batch(size - size // 2, size // 2, crop, candidate.model.num_classes)

    def step() -> None:
        candidate.model.train_step(copy.copy(batch), candidate.optim_wrapper)

    warmup, steps = (1, 1) if reduced else (3, 10)
    for _ in range(warmup):
        step()
    times = sorted(timed(step, device) for _ in range(steps))
    memory = resident_bytes(candidate) + peak_bytes(step, device)
    return {
        "milliseconds": times[len(times) // 2],
        "gibibytes": memory / 2**30,
        "crop": list(crop),
        "batch": size,
    }


@torch.no_grad()
def measure_prediction(name: str, *, reduced: bool, device: torch.device) -> dict:
    """Images per second of the network alone at 1024 x 2048, and of labeling's two views of half that size."""
    cfg = config_of(name, {})
    model: Any = build_candidate(copy.deepcopy(cfg.model), cfg, device, False).model.eval()
    speeds = {}
    for kind, size, views in (("prediction", (1024, 2048), 1), ("labeling", (512, 1024), 2)):
        images = torch.randn(1, 3, *(REDUCED_CROP if reduced else size), device=device)
        metas = [dict(ori_shape=images.shape[2:], img_shape=images.shape[2:])]

        def predict(images: Any = images, metas: Any = metas, views: int = views) -> None:
            for _ in range(views):
                model.segmentor.inference(images, metas).argmax(dim=1)

        predict()
        times = sorted(timed(predict, device) for _ in range(1 if reduced else 10))
        speeds[f"{kind}_per_second"] = 1000 / times[len(times) // 2]
    return speeds


def train_scenes(*, reduced: bool, ranks: int = 1) -> dict:
    """Adapt the small network to the scenes; seconds, and mIoU at the end where the run is whole."""
    folder = Path(os.environ.get("MMDRSL_SCENES", "data/scenes"))
    tools = tools_folder()
    if not folder.is_dir():
        script = tools / "dataset_converters" / "make_scenes.py"
        subprocess.run([sys.executable, script, "--out", folder], check=True)
    with tempfile.TemporaryDirectory() as work_dir:
        options = ["--work-dir", work_dir, "--cfg-options", "default_hooks.report=None"]
        if reduced:
            rounds = [
                f"default_hooks.self_training.rounds.{index}.iterations=1" for index in range(3)
            ]
            options += ["train_cfg.max_iters=5", "train_cfg.val_interval=5", *rounds]
            options += ["default_hooks.self_training.warmup_iterations=2"]
            options += ["default_hooks.teacher.begin=2", "default_hooks.modes.kmeans_iteration=1"]
        script, config = tools / "train.py", configs_folder() / f"{SCENES}.py"
        launcher = [sys.executable]
        if ranks > 1:
            launcher += [
                "-m",
                "torch.distributed.run",
                f"--nproc_per_node={ranks}",
                "--master_port=0",
            ]
            options = ["--launcher", "pytorch", *options]
        begin = time.perf_counter()
        subprocess.run([*launcher, script, config, *options], check=True, stdout=subprocess.DEVNULL)
        result = {"seconds": time.perf_counter() - begin}
        for log in Path(work_dir).rglob("scalars.json"):
            for line in log.read_text().splitlines():
                if "mIoU" in (entry := json.loads(line)):
                    result["mIoU"] = entry["mIoU"]
        return result


def measurements(
    *, reduced: bool, device: torch.device
) -> Iterator[tuple[str, Callable[[], dict]]]:
    """Names of all measurements in their order, and what makes each."""
    options: dict[str, Any] = dict(reduced=reduced, device=device)
    names = HEADLINE[:1] if reduced else HEADLINE
    for variant in ("fp32", "bf16"):
        for name in names:
            yield (
                f"step/{name}/{variant}",
                lambda n=name, v=variant: measure_step(n, VARIANTS[str(v)], **options),
            )
    yield f"scenes/{SCENES}", lambda: train_scenes(reduced=reduced)
    for name in names:
        yield f"speed/{name}", lambda n=name: measure_prediction(n, **options)
    for variant in list(VARIANTS)[2:]:
        for name in names:
            yield (
                f"step/{name}/{variant}",
                lambda n=name, v=variant: measure_step(n, VARIANTS[str(v)], **options),
            )
    if torch.cuda.device_count() > 1:
        yield f"two ranks/{SCENES}", lambda: train_scenes(reduced=reduced, ranks=2)


def tables(found: dict[str, Any]) -> str:
    """The measurements as Markdown."""
    entries = found["measurements"]
    lines = [f"{found['environment']}; driver's name of the device: {found['device']}.", ""]
    lines += [
        "| config | variant | batch, crop | step | peak memory |",
        "| --- | --- | --- | --- | --- |",
    ]
    for key, value in entries.items():
        kind, _, rest = key.partition("/")
        if kind == "step":
            name, _, variant = rest.rpartition("/")
            if "error" in value:
                lines.append(f"| `{name}` | {variant} | | {value['error']} | |")
                continue
            height, width = value["crop"]
            shape = f"{value['batch']}, {height} x {width}"
            cost = f"{value['milliseconds']:.0f} ms | {value['gibibytes']:.1f} GiB"
            lines.append(f"| `{name}` | {variant} | {shape} | {cost} |")
    lines += [
        "",
        "| config | images a second at 1024 x 2048 | labeled images a second, two views of half that |",
    ]
    lines += ["| --- | --- | --- |"]
    for key, value in entries.items():
        kind, _, name = key.partition("/")
        if kind == "speed" and "error" not in value:
            speeds = f"{value['prediction_per_second']:.1f} | {value['labeling_per_second']:.1f}"
            lines.append(f"| `{name}` | {speeds} |")
    for key, value in entries.items():
        kind, _, name = key.partition("/")
        if kind in ("scenes", "two ranks") and "error" not in value:
            reached = f", mIoU {value['mIoU']:.1f}" if "mIoU" in value else ""
            lines += [
                "",
                f"`{name}`{' on two ranks' if kind != 'scenes' else ''}: {value['seconds']:.0f} s{reached}.",
            ]
    return "\n".join(lines)


def around_tables(page: Path) -> tuple[str, str]:
    """What a page says before and after the place of the tables.

    Raises:
        FileNotFoundError: There is no such page.
        ValueError: It has no marked place.
    """
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"{page} has no place between {BEGIN} and {END}: add both lines.")
    return before, after


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Measure what trainings cost on a GPU")
    parser.add_argument("--out", type=Path, default=Path("docs/results/gpu_check.json"))
    parser.add_argument("--page", type=Path, help="page whose marked place to fill")
    parser.add_argument("--minutes", type=float, default=8.0, help="begin nothing after these")
    parser.add_argument("--reduced", action="store_true", help="small images, for a CPU")
    parser.add_argument("--again", action="store_true", help="measure anew what is there already")
    args = parser.parse_args()
    if not args.reduced and not torch.cuda.is_available():
        parser.error("there is no GPU that PyTorch sees; --reduced tries the measurements on a CPU")
    if args.page is not None:
        # Before hours of measurements.
        try:
            around_tables(args.page)
        except (OSError, ValueError) as error:
            parser.error(f"--page: {error}")
    return args


def main() -> int:
    """Measure what is left; return 0 where all is measured, 3 where something is left, 1 where --out does not fit."""
    args = parse_args()
    begin = time.monotonic()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    gpu = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    found: dict[str, Any] = {"measurements": {}}
    made_by = {"environment": environment(), "device": gpu, "reduced": args.reduced}
    if args.out.exists() and not args.again:
        found = json.loads(args.out.read_text(encoding="utf-8"))
        differing = [name for name, value in made_by.items() if found.get(name) != value]
        if differing:
            print(
                f"gpu_check: {args.out} holds measurements of another {' and '.join(differing)}: "
                f"{[found.get(name) for name in differing]}, here {[made_by[name] for name in differing]}. Give "
                "another --out, or --again to measure all anew.",
                file=sys.stderr,
            )
            return 1
    found |= made_by
    left = 0
    for key, measure in measurements(reduced=args.reduced, device=device):
        if key in found["measurements"]:
            continue
        if time.monotonic() - begin > 60 * args.minutes:
            left += 1
            continue
        try:
            found["measurements"][key] = measure()
        except (RuntimeError, TypeError, ValueError, subprocess.CalledProcessError) as error:
            # Out of memory is a result, too.
            found["measurements"][key] = {"error": str(error).partition("\n")[0][:200]}
        if device.type == "cuda":
            torch.cuda.empty_cache()
        print(key, found["measurements"][key], flush=True)
        args.out.parent.mkdir(parents=True, exist_ok=True)
        with replacing(args.out) as temporary:
            temporary.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if args.page is not None:
        before, after = around_tables(args.page)
        filled = f"{before}{BEGIN}\n\n{tables(found)}\n\n{END}{after}"
        with replacing(args.page) as temporary:
            temporary.write_text(filled, encoding="utf-8")
    print(f"{len(found['measurements'])} measured, {left} left")
    return 3 if left else 0


if __name__ == "__main__":
    sys.exit(main())
