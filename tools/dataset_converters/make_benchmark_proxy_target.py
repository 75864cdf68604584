"""Make a proxy target for the benchmark from its source side, on which methods may be chosen.

Example:
    python tools/dataset_converters/make_benchmark_proxy_target.py --data data/benchmark --out data/proxy
    python tools/run_benchmark.py --data data/proxy --methods self_training drsl --out work_dirs/proxy
    python tools/dataset_converters/make_benchmark_proxy_target.py --pair streets2cs --data data/streets2cityscapes \
        --shown 1 --out data/streets_proxy
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import mmdrsl  # noqa: F401 - registers everything before a config is read
from mmdrsl.benchmark.pairs import DEFAULT_PAIR, pair_names
from mmdrsl.benchmark.plan import CONFIGS
from mmdrsl.benchmark.proxy_target import write_benchmark_proxy_target
from mmdrsl.engine.launch import read_config


def main() -> int:
    """Write the set; return the exit status."""
    parser = argparse.ArgumentParser(description="Make a proxy target for the benchmark.")
    parser.add_argument("--data", type=Path, required=True, help="the benchmark")
    parser.add_argument(
        "--pair", choices=pair_names(CONFIGS), default=DEFAULT_PAIR, help="its domains"
    )
    parser.add_argument("--out", type=Path, required=True, help="new folder")
    parser.add_argument(
        "--shown", type=float, default=0.65, help="share of the sides that its targets show"
    )
    args = parser.parse_args()
    try:
        folder = write_benchmark_proxy_target(
            data=args.data,
            out_dir=args.out,
            pair=read_config(CONFIGS / "_base_/pairs" / f"{args.pair}.py"),
            shown=args.shown,
            progress=True,
        )
    except (ValueError, OSError) as error:
        print(f"make_benchmark_proxy_target: {error}", file=sys.stderr)
        return 1
    print(f"the proxy target is in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
