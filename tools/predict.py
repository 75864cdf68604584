"""Predict images and videos with a trained segmentor.

python tools/predict.py CONFIG CHECKPOINT INPUT... --out DIR [--network {student,teacher}] [--confidence]
    [--tta | --scales S...] [--window H W [--stride H W]] [--batch-size N] [--device DEVICE] [--overwrite]

INPUT is an image, a video, a folder, or a pattern in quotes. DIR gets labels/, color/ and overlay/, an mp4 in overlay/
for a video, and shares.csv. CONFIG and CHECKPOINT are those of a training, or an exported pair. The network is the one
that tools/test.py takes, unless --network names another. Started again after an interruption the tool picks up where it
stopped. See docs/predict.md.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config
from mmengine.device import get_device
from mmengine.hooks import Hook
from mmengine.registry import init_default_scope
from mmseg.registry import HOOKS

import mmdrsl  # noqa: F401 - registers everything before a config is built
from mmdrsl.engine.adaptation_hook import AdaptationHook
from mmdrsl.engine.config_options import add_config_options, override
from mmdrsl.engine.launch import MISTAKES, add_trust_option, describe, read_config
from mmdrsl.engine.tool_end import writing
from mmdrsl.inference import (
    Network,
    OutputFolder,
    PredictionRun,
    Predictor,
    find_inputs,
    load_network,
    settings_of,
)
from mmdrsl.models.segmentors.export import evaluates_teacher
from mmdrsl.pseudo_labels.views import Views


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Predict images and videos")
    parser.add_argument("config", help="config of a training, or an exported one")
    parser.add_argument("checkpoint", help="its checkpoint")
    parser.add_argument("inputs", nargs="+", help="images, videos, folders, patterns in quotes")
    parser.add_argument("--out", type=Path, required=True, help="folder of the outputs")
    network = parser.add_mutually_exclusive_group()
    network.add_argument(
        "--network",
        choices=("student", "teacher"),
        help="the trained network or its averaged copy; by default the one that the config's test takes",
    )
    network.add_argument(
        "--teacher",
        action="store_const",
        const="teacher",
        dest="network",
        help="the same as --network teacher",
    )
    parser.add_argument(
        "--confidence", action="store_true", help="write the labels' probability as 8-bit PNG, too"
    )
    parser.add_argument("--tta", action="store_true", help="average over the config's tta_pipeline")
    parser.add_argument(
        "--scales", nargs="+", type=float, help="average over scales and mirror images"
    )
    parser.add_argument(
        "--window", nargs=2, type=int, metavar=("H", "W"), help="slide a window of this size"
    )
    parser.add_argument(
        "--stride", nargs=2, type=int, metavar=("H", "W"), help="default: 2/3 of the window"
    )
    parser.add_argument("--batch-size", type=int, default=1, help="images of one size per pass")
    parser.add_argument("--device", help="cpu, cuda, cuda:1; default: a GPU where there is one")
    parser.add_argument("--overwrite", action="store_true", help="make complete outputs again")
    add_config_options(parser)
    add_trust_option(parser)
    args = parser.parse_args(arguments)
    if args.tta and args.scales is not None:
        parser.error("--tta and --scales exclude each other: leave one out")
    if args.scales is not None and min(args.scales) <= 0:
        parser.error(f"--scales must be positive, found {args.scales}")
    if args.scales is not None and args.batch_size > 1:
        parser.error(
            "--batch-size has no effect with --scales, which take one image at a time: leave it out"
        )
    if args.batch_size < 1:
        parser.error(f"--batch-size must be at least 1, found {args.batch_size}")
    if args.stride is not None and args.window is None:
        parser.error("--stride is an option of --window: give both, or none")
    if args.window is not None:
        args.stride = args.stride or [max(1, side * 2 // 3) for side in args.window]
        for side, step in zip(args.window, args.stride, strict=True):
            if not 1 <= step <= side:
                parser.error(
                    f"--stride must be in 1..window, or pixels are left out; found the window {args.window} and the "
                    f"stride {args.stride}"
                )
    return args


def hooks_before_tests(cfg: Config) -> list[str]:
    """Name the hooks of a config that change the network where it is tested."""
    entries = [*cfg.get("default_hooks", {}).values(), *cfg.get("custom_hooks", [])]
    types = [HOOKS.get(entry["type"]) for entry in entries if entry is not None]
    return [
        kind.__name__
        for kind in types
        if issubclass(kind, AdaptationHook) and kind.before_test is not Hook.before_test
    ]


def which_network(network: Network, *, asked: bool, checkpoint: str) -> str:
    """Say which network of a training predicts, and why."""
    name = "averaged teacher" if network.is_teacher else "student"
    if asked:
        reason = "as the command line says"
    elif network.is_teacher:
        reason = "as in the test of this config; --network student takes the student"
    else:
        reason = f"since {checkpoint} holds no teacher that a training has updated"
    return f"predict: the {name} predicts, {reason}"


def predict(args: argparse.Namespace) -> None:
    """Predict what is not complete."""
    inputs = find_inputs(args.inputs, out=args.out)
    cfg = read_config(args.config)
    override(cfg, args.cfg_options)
    init_default_scope(cfg.get("default_scope", "mmseg"))
    window = None
    if args.window is not None:
        window = dict(mode="slide", crop_size=tuple(args.window), stride=tuple(args.stride))
    network = load_network(
        cfg,
        args.checkpoint,
        teacher=None if args.network is None else args.network == "teacher",
        window=window,
        device=args.device or get_device(),
    )
    views = None if args.scales is None else Views(flip=True, scales=tuple(args.scales), stride=1)
    predictor = Predictor(cfg=cfg, network=network, tta=args.tta, views=views)
    output = OutputFolder(args.out, palette=network.palette, confidence=args.confidence)
    options = dict(
        teacher=network.is_teacher,
        tta=args.tta,
        scales=args.scales,
        window=args.window,
        stride=args.stride,
    )
    settings = settings_of(cfg, args.checkpoint, options)
    output.begin(settings, inputs, overwrite=args.overwrite)
    # Of a config without a teacher there is one network.
    if evaluates_teacher(cfg) or args.network is not None:
        print(which_network(network, asked=args.network is not None, checkpoint=args.checkpoint))
    for hook in hooks_before_tests(cfg):
        print(
            f"predict: {hook} acts before a test alone; tools/test.py --show-dir predicts with it"
        )
    run = PredictionRun(
        predictor=predictor,
        output=output,
        batch_size=args.batch_size,
        confidence=args.confidence,
    )
    kept = run.run(inputs)
    print(f"{args.out}: {len(inputs)} images and videos, {kept} of them were there already")


def main(arguments: Sequence[str] | None = None) -> int:
    """Predict; return the exit status."""
    args = parse_args(arguments)
    # MMEngine says at every config that it found the data.
    logging.disable(logging.INFO)
    try:
        with writing(args.out, tool="predict"):
            predict(args)
    except MISTAKES as error:
        print(f"predict: {describe(error)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
