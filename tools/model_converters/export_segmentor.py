"""Export the segmentor out of an adaptation's checkpoint, for MMSegmentation's own tools and for deployment.

python tools/model_converters/export_segmentor.py CONFIG CHECKPOINT --out DIR [--network student]
    [--onnx [--size HEIGHT WIDTH]] [--safetensors]

writes DIR/config.py and DIR/segmentor.pth, DIR/segmentor.onnx and DIR/segmentor.safetensors where these are asked for,
and DIR/README.md, a model card. The way back needs no tool: ``--cfg-options load_from=FILE`` starts an adaptation from
a plain MMSegmentation checkpoint.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

import mmdrsl
from mmdrsl.atomic_files import write_atomically
from mmdrsl.checkpoint_weights import weights_of
from mmdrsl.checkpoints import read_checkpoint
from mmdrsl.engine.config_options import add_config_options, override
from mmdrsl.engine.launch import add_trust_option, read_config, run_tool
from mmdrsl.engine.tool_end import writing
from mmdrsl.export.model_card import ExportedSegmentor, model_card
from mmdrsl.export.onnx_file import write_onnx
from mmdrsl.export.safetensors_file import write_safetensors
from mmdrsl.export.stock_config import WRITTEN_BY
from mmdrsl.inference.network import load_network
from mmdrsl.models.segmentors.export import export_segmentor, exports_teacher


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Export a plain MMSegmentation checkpoint")
    parser.add_argument("config", help="config of the adaptation")
    parser.add_argument("checkpoint", type=Path, help="its training checkpoint")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument(
        "--network",
        choices=("student", "teacher"),
        help="the trained network or its averaged copy; by default the one that the config evaluates",
    )
    parser.add_argument("--onnx", action="store_true", help="write segmentor.onnx and check it")
    parser.add_argument(
        "--size",
        type=int,
        nargs=2,
        metavar=("HEIGHT", "WIDTH"),
        help="image size of the ONNX file where the network fixes one; by default model.crop_size",
    )
    parser.add_argument("--safetensors", action="store_true", help="write segmentor.safetensors")
    add_config_options(parser)
    add_trust_option(parser)
    args = parser.parse_args()
    if args.size is not None and not args.onnx:
        parser.error("--size is of --onnx: give both or neither")
    if args.size is not None and min(args.size) < 32:
        parser.error(f"--size: expected at least 32 pixels, found {min(args.size)}")
    return args


def main() -> None:
    """Read the command line and export."""
    args = parse_args()
    cfg = read_config(args.config)
    override(cfg, args.cfg_options)
    init_default_scope(cfg.get("default_scope", "mmseg"))
    with writing(args.out, tool="export", go_on=lambda: "the same command starts again"):
        files = export(cfg, args)
    for path, what in files.items():
        print(f"Wrote {path}: {what}")


def check_folder(out: Path, config: str) -> None:
    """Refuse a folder whose files an export would replace and no export wrote.

    Args:
        out: The folder; it may be missing.
        config: File of the config of the training.

    Raises:
        FileExistsError: It holds the config of the training, or a config or README.md of other origin.
    """
    earlier = out / "config.py"
    is_exported = (
        earlier.is_file()
        and not earlier.samefile(config)
        and WRITTEN_BY in earlier.read_text(encoding="utf-8", errors="replace")
    )
    found = [name for name in ("config.py", "README.md") if (out / name).exists()]
    if found and not is_exported:
        raise FileExistsError(
            f"{out} holds {' and '.join(found)} of another origin, expected a new folder or one of an earlier export: "
            "give another --out."
        )


def export(cfg: Config, args: argparse.Namespace) -> dict[Path, str]:
    """Write all files.

    Args:
        cfg: Config of the training.
        args: The command line.

    Returns:
        What each file is, by its path.

    Raises:
        FileExistsError: As `check_folder`.
    """
    check_folder(args.out, args.config)
    asked = None if args.network is None else args.network == "teacher"
    config, weights = export_segmentor(cfg, args.checkpoint, args.out, teacher=asked)
    # Those of an earlier export would be of other weights.
    for name in ("README.md", "segmentor.onnx", "segmentor.safetensors"):
        (args.out / name).unlink(missing_ok=True)
    files = {config: "config for MMSegmentation", weights: "weights for MMSegmentation"}
    network = load_network(Config.fromfile(config), weights)
    if args.safetensors:
        path = args.out / "segmentor.safetensors"
        state = torch.load(weights, weights_only=True)["state_dict"]
        write_safetensors(state, path, classes=network.classes, palette=network.palette)
        files[path] = "the same weights"
    if args.onnx:
        size = args.size or cfg.model.get("crop_size") or (256, 256)
        written = write_onnx(network, args.out / "segmentor.onnx", size=size)
        files[written.path] = f"ONNX, {written.describe()}"
        if network.segmentor.test_cfg.get("mode") == "slide":
            print("The config tests in windows; the ONNX file labels whole images.")
    loaded = read_checkpoint(args.checkpoint)
    state = weights_of(loaded, args.checkpoint)
    evaluated = exports_teacher(cfg, state, None)
    teacher = exports_teacher(cfg, state, asked)
    exported = ExportedSegmentor(
        cfg=cfg,
        checkpoint=args.checkpoint,
        meta=loaded.get("meta", {}),
        teacher=teacher,
        evaluated=teacher == evaluated,
        classes=network.classes,
        palette=network.palette,
        files=files,
        version=mmdrsl.__version__,
    )
    card = args.out / "README.md"
    write_atomically(card, model_card(exported))
    return {**files, card: "model card"}


if __name__ == "__main__":
    run_tool("export", main)
