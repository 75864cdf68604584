"""Write the config of a training on your own images and labels, and examine the data.

python tools/new_pair.py --source IMAGES LABELS --classes FILE --target FOLDER|VIDEO --out DIR
    [--val IMAGES LABELS] [--target-labels IMAGES LABELS] [--model NAME] [--method NAME]

Looks at the files: endings, sizes, how labels are named, which ids or colors they hold. --classes says which class an
id or color is, the same ids or colors in all sets; without it a template with the ids found is written to
DIR/classes.yaml, to be filled in. --val are labeled target images for the evaluation alone, --target-labels a few that
are learned from. DIR/config.py is a training that starts as it is. Exit status: 0, 1 where the examination of the data
finds problems, 2 where no config can be written, 3 where a template was written.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

import mmdrsl  # noqa: F401 - registers the datasets before a config is built
from mmdrsl.atomic_files import write_atomically
from mmdrsl.datasets.inspection.config_domains import read_config
from mmdrsl.datasets.inspection.domain_report import inspect_config
from mmdrsl.datasets.inspection.page import render_page
from mmdrsl.installation import configs_folder
from mmdrsl.new_pair.choices import choose, gpu_gigabytes
from mmdrsl.new_pair.class_file import PairClasses, Value, read_classes, write_template
from mmdrsl.new_pair.config_text import config_text
from mmdrsl.new_pair.look import Images, Labeled, Videos, look_at_labeled, look_at_target


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Write the config of a pair of your own")
    for option, text in (
        ("--source", "labeled source images"),
        ("--val", "labeled target images, for the evaluation alone"),
        ("--target-labels", "labeled target images to learn from"),
    ):
        parser.add_argument(
            option,
            nargs=2,
            type=Path,
            metavar=("IMAGES", "LABELS"),
            required=option == "--source",
            help=text,
        )
    parser.add_argument("--target", required=True, type=Path, help="images or videos, unlabeled")
    parser.add_argument(
        "--classes",
        type=Path,
        help="YAML or JSON of ids or colors and names; the same ids or colors in all sets",
    )
    parser.add_argument("--model", choices=_names("models"), help="network")
    parser.add_argument("--method", choices=_names("methods"), help="method; default: DRSL")
    parser.add_argument("--out", required=True, type=Path, help="folder of the config")
    return parser.parse_args()


def _names(folder: str) -> list[str]:
    paths = sorted((configs_folder() / "_base_" / folder).glob("*.py"))
    return [path.stem for path in paths if path.stem not in ("adaptor", "auxiliary_classifier")]


def check_folders(given: dict[str, list[Path] | None], target: Path) -> None:
    """Check that what the options name exists.

    Raises:
        FileNotFoundError: A folder is missing, or the target.
    """
    for option, folders in given.items():
        for folder in folders or []:
            if not folder.is_dir():
                raise FileNotFoundError(f"no folder {folder}: correct {option}")
    if not target.exists():
        raise FileNotFoundError(
            f"no target {target}: give --target a folder of images or videos, or a video"
        )


def check_kinds(values: dict[str, set[Value]]) -> None:
    """Check that all have ids, or all have colors.

    Raises:
        ValueError: Some have ids and others colors.
    """
    kinds = {
        name: "colors" if any(isinstance(value, tuple) for value in found) else "ids"
        for name, found in values.items()
    }
    if len(set(kinds.values())) > 1:
        listed = ", ".join(f"{name} has {kind}" for name, kind in kinds.items())
        raise ValueError(
            f"{listed}: expected the same ids or colors in all sets, since one file of classes is for all; convert "
            "the labels of one set, or correct the file"
        )


def lists_of(found: dict[str, Labeled], video: Videos | Images | None) -> dict[str, list[str]]:
    """What is listed in files, since the folders hold more.

    Args:
        found: Labeled sets by option.
        video: The target where it is a single video, whose folder may hold others, and predictions later.

    Returns:
        Images or videos by name of the dataset in the config.
    """
    names = {
        "--source": "source_dataset",
        "--val": "val_dataset",
        "--target-labels": "target_labels",
    }
    listed = {
        names[option]: labeled.images.names
        for option, labeled in found.items()
        if labeled.unlabeled
    }
    return listed if video is None else {**listed, "target_dataset": video.names}


def check_values(classes: PairClasses, path: Path, found: dict[str, Labeled]) -> None:
    """Compare the ids or colors of the labels with those of the file of classes.

    Raises:
        ValueError: Labels hold something that the file does not name.
    """
    for option, labeled in found.items():
        unknown = sorted(map(str, set(labeled.pixels) - classes.values()))
        if unknown:
            raise ValueError(
                f"{path} does not name {', '.join(unknown)}, which labels of {option} hold: add them, as 'ignored' "
                "where they are no class; all sets need the same ids or colors"
            )


def main() -> int:
    """Look, choose, write, examine; return the exit status."""
    args = parse_args()
    config = args.out / "config.py"
    try:
        if config.exists():
            raise ValueError(f"{config} exists: choose another --out, or remove it")
        options = {
            "--source": args.source,
            "--val": args.val,
            "--target-labels": args.target_labels,
        }
        check_folders(options, args.target)
        found = {name: look_at_labeled(*given) for name, given in options.items() if given}
        target = look_at_target(args.target)
        for name, labeled in found.items():
            print(f"{name}: {labeled.describe()}")
        print(f"--target: {target.describe()}")
        values = {name: set(labeled.pixels) for name, labeled in found.items()}
        check_kinds(values)
        if args.classes is None:
            template = args.out / "classes.yaml"
            write_template(template, {name: labeled.pixels for name, labeled in found.items()})
            print(
                f"\nName the classes in {template}, then run this again with --classes {template}."
            )
            return 3
        classes = read_classes(args.classes)
        check_kinds({str(args.classes): classes.values(), **values})
        check_values(classes, args.classes, found)
        print(f"{args.classes}: read for {', '.join(found)}, which need the same ids or colors")
        choices = choose(
            target.size, gigabytes=gpu_gigabytes(), model=args.model, method=args.method
        )
        taken = lists_of(found, target if args.target.is_file() else None)
        lists = {name: args.out / f"{name}.txt" for name in taken}
        text = config_text(
            path=config,
            command=shlex.join(["mmdrsl", "new-pair", *sys.argv[1:]]),
            classes=classes,
            choices=choices,
            source=found["--source"],
            target=target,
            validation=found.get("--val"),
            target_labels=found.get("--target-labels"),
            lists=lists,
        )
        args.out.mkdir(parents=True, exist_ok=True)
        for name, files in taken.items():
            write_atomically(lists[name], "\n".join(files) + "\n")
        write_atomically(config, text)
        print(f"\n{config} is written.")
        for name, reason in choices.reasons.items():
            print(f"  {name} = {getattr(choices, name)}: {reason}")
        try:
            reports = inspect_config(read_config(str(config)))
        except Exception:
            config.unlink()
            print(f"{config} is removed, since it cannot be used.", file=sys.stderr)
            raise
    except (OSError, ValueError) as error:
        print(f"new_pair: {error}", file=sys.stderr)
        return 2
    print("\n" + render_page(reports, f"Data of {config}"))
    print(f"\nNow: {shlex.join(['mmdrsl', 'train', str(config)])}")
    return 1 if any(report.problems for report in reports.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
