"""Make a proxy target for the street scenes from the source side, on which methods may be chosen.

Example:
    python tools/dataset_converters/make_proxy_target.py --scenes data/scenes --out data/proxy_target
    MMDRSL_SCENES=data/proxy_target python tools/train.py configs/drsl/deeplabv3plus_scenes2scenes.py
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mmdrsl.scenes.proxy_target import write_proxy_target


def main() -> int:
    """Write the set; return the exit status."""
    parser = argparse.ArgumentParser(description="Make a proxy target from the source side.")
    parser.add_argument("--scenes", type=Path, required=True, help="a set of make_scenes.py")
    parser.add_argument("--out", type=Path, required=True, help="new folder of the set")
    parser.add_argument("--seed", type=int, default=50, help="seed of the fresh scenes")
    parser.add_argument(
        "--shown", type=float, default=1.0, help="below 1: show that share of the sides, enlarged"
    )
    args = parser.parse_args()
    try:
        folder = write_proxy_target(
            out_dir=args.out,
            scenes=args.scenes,
            seed=args.seed,
            shown=args.shown,
            progress=True,
        )
    except (ValueError, OSError) as error:
        print(f"make_proxy_target: {error}", file=sys.stderr)
        return 1
    print(f"the proxy target is in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
