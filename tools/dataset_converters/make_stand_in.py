"""Make a stand-in target for the street scenes from the source side, on which methods may be chosen.

Example:
    python tools/dataset_converters/make_stand_in.py --scenes data/scenes --out data/stand_in
    MMDRSL_SCENES=data/stand_in python tools/train.py configs/drsl/deeplabv3plus_scenes2scenes.py
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mmdrsl.scenes.stand_in import write_stand_in


def main() -> int:
    """Write the set; return the exit status."""
    parser = argparse.ArgumentParser(description="Make a stand-in target from the source side.")
    parser.add_argument("--scenes", type=Path, required=True, help="a set of make_scenes.py")
    parser.add_argument("--out", type=Path, required=True, help="new folder of the set")
    parser.add_argument("--seed", type=int, default=50, help="seed of the fresh scenes")
    parser.add_argument(
        "--shown", type=float, default=1.0, help="below 1: show that share of the sides, enlarged"
    )
    args = parser.parse_args()
    try:
        folder = write_stand_in(
            out_dir=args.out,
            scenes=args.scenes,
            seed=args.seed,
            shown=args.shown,
            progress=True,
        )
    except (ValueError, FileExistsError, FileNotFoundError) as error:
        print(f"make_stand_in: {error}", file=sys.stderr)
        return 1
    print(f"the stand-in is in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
