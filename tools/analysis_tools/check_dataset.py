"""Examine the data of a config: broken and unpaired files, unknown ids, copies, classes, image statistics.

python tools/analysis_tools/check_dataset.py CONFIG [--json] [--out DIR] [--cfg-options KEY=VALUE ...]

Reads every file. CONFIG is any config of mmdrsl or MMSegmentation, also one of datasets only. --cfg-options
data_root=DIR puts DIR in place of the config's data_root wherever it occurs. Exit status: 0 without problems, 1 with
problems, 2 where the config cannot be used. With --json the last line of the output is one JSON object by domain.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import mmdrsl  # noqa: F401 - registers the datasets before a config is built
from mmdrsl.datasets.inspection.config_domains import read_config
from mmdrsl.datasets.inspection.domain_report import inspect_config
from mmdrsl.datasets.inspection.page import render_page
from mmdrsl.datasets.inspection.picture import save_picture
from mmdrsl.engine.config_options import add_config_options, override


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Examine the data of a config")
    parser.add_argument("config", help="config file")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--out", type=Path, help="folder of the picture")
    parser.add_argument("--num-workers", type=int, help="threads; by default one per core")
    add_config_options(parser)
    return parser.parse_args()


def main() -> int:
    """Examine; return the exit status."""
    args = parse_args()
    try:
        cfg = read_config(args.config)
        override(cfg, args.cfg_options)
        reports = inspect_config(cfg, num_workers=args.num_workers)
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"check_dataset: {args.config}: {error}", file=sys.stderr)
        return 2
    folder = args.out or Path("work_dirs", "check_dataset", Path(args.config).stem)
    picture = folder / "classes.png"
    save_picture(reports, picture)
    print(render_page(reports, f"Data of {args.config}"))
    print(f"\nPicture: {picture}")
    if args.json:
        summary: dict[str, Any] = {name: report.summary() for name, report in reports.items()}
        print(json.dumps(summary))
    return 1 if any(report.problems for report in reports.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
