"""Make a proxy target for the benchmark from its source side, on which methods may be chosen.

Example:
    python tools/dataset_converters/make_benchmark_proxy_target.py --data data/benchmark --out data/proxy
    python tools/run_benchmark.py --data data/proxy --methods self_training drsl --out work_dirs/proxy
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mmdrsl.benchmark.proxy_target import write_benchmark_proxy_target


def main() -> int:
    """Write the set; return the exit status."""
    parser = argparse.ArgumentParser(description="Make a proxy target for the benchmark.")
    parser.add_argument("--data", type=Path, required=True, help="the benchmark")
    parser.add_argument("--out", type=Path, required=True, help="new folder")
    parser.add_argument(
        "--shown", type=float, default=0.65, help="share of the sides that its targets show"
    )
    args = parser.parse_args()
    try:
        folder = write_benchmark_proxy_target(
            data=args.data, out_dir=args.out, shown=args.shown, progress=True
        )
    except (ValueError, OSError) as error:
        print(f"make_benchmark_proxy_target: {error}", file=sys.stderr)
        return 1
    print(f"the proxy target is in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
