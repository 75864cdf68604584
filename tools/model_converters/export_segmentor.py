"""Export the segmentor out of an adaptation's checkpoint, for MMSegmentation's own tools and for deployment.

python tools/model_converters/export_segmentor.py CONFIG CHECKPOINT --out DIR [--network student]

writes DIR/config.py and DIR/segmentor.pth. The way back needs no tool: ``--cfg-options load_from=FILE`` starts an
adaptation from a plain MMSegmentation checkpoint.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmengine.config import DictAction

import mmdrsl  # noqa: F401 - registers everything before a config is built
from mmdrsl.engine.config_options import override
from mmdrsl.engine.launch import read_config
from mmdrsl.engine.tool_end import writing
from mmdrsl.models.segmentors.export import export_segmentor


def main() -> None:
    """Read the command line and export."""
    parser = argparse.ArgumentParser(description="Export a plain MMSegmentation checkpoint")
    parser.add_argument("config", help="config of the adaptation")
    parser.add_argument("checkpoint", type=Path, help="its training checkpoint")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument(
        "--network",
        choices=("student", "teacher"),
        help="the trained network or its averaged copy; by default the one that the config evaluates",
    )
    parser.add_argument("--cfg-options", nargs="+", action=DictAction, help="config overrides")
    args = parser.parse_args()
    cfg = read_config(args.config)
    override(cfg, args.cfg_options)
    teacher = None if args.network is None else args.network == "teacher"
    with writing(args.out, tool="export", go_on=lambda: "the same command starts again"):
        config, weights = export_segmentor(cfg, args.checkpoint, args.out, teacher=teacher)
    print(f"Wrote {config} and {weights}")


if __name__ == "__main__":
    main()
