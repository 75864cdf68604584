"""Render the street scenes: a labeled game set and a camera set.

Example:
    python tools/dataset_converters/make_scenes.py --out data/scenes
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mmdrsl.scenes.writer import write_scenes


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Render the street scenes.")
    parser.add_argument("--out", type=Path, required=True, help="folder of the set")
    parser.add_argument("--seed", type=int, default=0, help="seed of the set")
    parser.add_argument("--num-game", type=int, default=160, help="number of game scenes")
    parser.add_argument("--num-camera-train", type=int, default=160)
    parser.add_argument("--num-camera-val", type=int, default=60)
    parser.add_argument(
        "--size",
        type=int,
        nargs=2,
        default=(256, 128),
        metavar=("WIDTH", "HEIGHT"),
        help="image size in pixels",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace another set")
    return parser.parse_args()


def main() -> int:
    """Render the set that the command line asks for; return the exit status."""
    args = parse_args()
    try:
        folder = write_scenes(
            out_dir=args.out,
            seed=args.seed,
            num_game=args.num_game,
            num_camera_train=args.num_camera_train,
            num_camera_val=args.num_camera_val,
            image_size=(args.size[0], args.size[1]),
            overwrite=args.overwrite,
            progress=True,
        )
    except (ValueError, OSError) as error:
        print(f"make_scenes: {error}", file=sys.stderr)
        return 1
    print(f"scenes are in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
