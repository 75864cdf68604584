"""The command line that all converters of published data sets share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmdrsl.datasets.conversion import ConversionOptions, convert_dataset
from mmdrsl.datasets.labeled import LabelledImageDataset

_MAX_NAMED = 20


def run_converter(
    dataset_type: type[LabelledImageDataset],
    description: str,
    splits: Sequence[Mapping[str, str | Sequence[str]]] = ({},),
    arguments: Sequence[str] | None = None,
) -> int:
    """Convert what the command line names.

    Args:
        dataset_type: Class that reads the published files.
        description: Text of ``--help``.
        splits: ``data_prefix`` of each split, the training split first; those that do not exist are left out.
        arguments: Command line; None takes the process's own.

    Returns:
        Exit status: 0, or 1 where a file could not be converted, 2 where nothing could be begun.
    """
    args = _parse(description, arguments)
    try:
        options = ConversionOptions(
            out=args.out, height=args.height, jpeg_quality=args.jpeg_quality, verify=args.verify
        )
        datasets = [
            dataset_type(
                data_root=str(args.data_root),
                label_space="cityscapes19",
                data_prefix=split,
                lazy_init=True,
            )
            for split in splits
        ]
        present = [data for data in datasets if Path(str(data.data_prefix["img_path"])).is_dir()]
        report = convert_dataset(present or datasets[:1], options, num_workers=args.num_workers)
    except (OSError, ValueError) as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        return 2
    print(f"{report.converted} pairs converted, {report.kept} were there already")
    for problem in report.problems[:_MAX_NAMED]:
        print(f"not converted: {problem}", file=sys.stderr)
    if len(report.problems) > _MAX_NAMED:
        print(f"... and {len(report.problems) - _MAX_NAMED} more", file=sys.stderr)
    return 1 if report.problems else 0


def _parse(description: str, arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data_root", type=Path, help="folder of the published set")
    parser.add_argument(
        "--out",
        type=Path,
        help="folder of the converted set; without it labels go beside the published ones",
    )
    parser.add_argument("--height", type=int, help="reduce images and labels to this height")
    parser.add_argument("--jpeg-quality", type=int, help="store images as JPEG, 1..100")
    parser.add_argument(
        "--verify", action="store_true", help="compare existing labels with a fresh conversion"
    )
    parser.add_argument("--num-workers", type=int, help="threads; by default one per core")
    return parser.parse_args(arguments)
