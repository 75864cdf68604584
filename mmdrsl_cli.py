"""The command `mmdrsl`: the tools of the library under one name, wherever it is installed.

It imports neither PyTorch nor the library, so that its help comes at once; the tool that it runs does.
"""

from __future__ import annotations

import difflib
import importlib.util
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

# Command, file below the tools folder, what it does.
TOOLS = {
    "train": ("train.py", "train or adapt a segmentor, or train a translator"),
    "test": ("test.py", "evaluate a checkpoint"),
    "label": ("generate_pseudo_labels.py", "label the target images outside training"),
    "predict": ("predict.py", "label maps and overlays of images and videos"),
    "translate": ("translate_dataset.py", "source images in the look of the target"),
    "export": ("model_converters/export_segmentor.py", "a plain MMSegmentation checkpoint"),
    "convert-backbone": ("model_converters/convert_backbone.py", "ImageNet weights for a backbone"),
    "new-pair": ("new_pair.py", "write a config for images and labels of your own"),
    "check": ("analysis_tools/check_dataset.py", "examine the data of a config"),
    "browse": ("analysis_tools/browse_dataset.py", "draw training samples after their transforms"),
    "cost": ("analysis_tools/estimate_cost.py", "estimate memory and hours of a training on a GPU"),
    "rank": ("analysis_tools/rank_checkpoints.py", "rank checkpoints without labels"),
    "benchmark": ("run_benchmark.py", "compare methods over networks and seeds"),
    "scenes": ("dataset_converters/make_scenes.py", "render the procedural scenes"),
    "demo": ("demo.py", "compare three trainings on the procedural scenes"),
}
USAGE = "usage: mmdrsl COMMAND [arguments]"


def help_text() -> str:
    """List the commands."""
    width = max(map(len, TOOLS))
    return "\n".join(
        [
            USAGE,
            "",
            *(f"  {name:<{width}}  {summary}" for name, (_, summary) in TOOLS.items()),
            "",
            "mmdrsl COMMAND --help shows the arguments of a command. A config is named by its path, or by its path",
            "below the library's configs folder: mmdrsl train drsl/deeplabv3plus_gta2cs.py",
        ]
    )


def find_root() -> Path:
    """Find the folder of configs and tools as `mmdrsl.installation` does, without importing the package.

    Returns:
        The folder.

    Raises:
        ModuleNotFoundError: The package is not installed.
    """
    spec = importlib.util.find_spec("mmdrsl")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("The package mmdrsl is not installed. Run: pip install mmdrsl")
    helper = runpy.run_path(str(Path(spec.origin).with_name("installation.py")))
    return Path(helper["files_root"]())


def near(name: str, known: Sequence[str]) -> str:
    """Say which known names resemble a wrong one.

    Args:
        name: What was given.
        known: What exists.

    Returns:
        A sentence, empty where nothing resembles it.
    """
    matches = difflib.get_close_matches(name, known, n=3)
    return f" Did you mean {' or '.join(matches)}?" if matches else ""


def find_tool(command: str, root: Path) -> Path:
    """Find the program of a command.

    Args:
        command: Name of the command.
        root: Folder of configs and tools.

    Returns:
        Its file.

    Raises:
        ValueError: No such command.
    """
    if command not in TOOLS:
        raise ValueError(
            f"Unknown command {command!r}.{near(command, list(TOOLS))} Commands: {', '.join(TOOLS)}."
        )
    return root / "tools" / TOOLS[command][0]


def find_config(name: str, configs: Path) -> str:
    """Find a config by its path, or by its path below the configs folder.

    Args:
        name: What was given, with or without `configs/` in front.
        configs: The configs folder.

    Returns:
        Path of an existing file.

    Raises:
        FileNotFoundError: No such config.
    """
    short = name.removeprefix("configs/")
    for path in (Path(name), configs / short):
        if path.is_file():
            return str(path)
    files = [path.relative_to(configs) for path in sorted(configs.rglob("*.py"))]
    known = [path.as_posix() for path in files if path.parts[0] != "_base_"]
    raise FileNotFoundError(
        f"No config {name!r}, neither here nor in {configs}.{near(short, known)} Name a file of your own, or one below "
        "the configs folder, as METHOD/NETWORK_PAIR.py."
    )


def resolve_configs(arguments: Sequence[str], configs: Path) -> list[str]:
    """Replace the short names of configs by paths.

    A config is an argument that ends in `.py`, or names a file below the folder without that ending; options and their
    `key=value` entries are left alone.

    Args:
        arguments: Command line of the tool.
        configs: The configs folder.

    Returns:
        The command line with paths.
    """
    found = []
    for argument in arguments:
        plain = "=" not in argument and not argument.startswith("-")
        if plain and (configs / f"{argument.removeprefix('configs/')}.py").is_file():
            argument += ".py"
        found.append(
            find_config(argument, configs) if plain and argument.endswith(".py") else argument
        )
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command in this process.

    Args:
        arguments: Command and its arguments, by default those of the process.

    Returns:
        Exit status; a tool that ends with a status of its own leaves by SystemExit.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(help_text())
        return 0 if arguments else 2
    try:
        root = find_root()
        tool = find_tool(arguments[0], root)
        tool_arguments = resolve_configs(arguments[1:], root / "configs")
    except (ValueError, FileNotFoundError, ModuleNotFoundError) as error:
        print(f"mmdrsl: {error}", file=sys.stderr)
        return 2
    sys.argv = [str(tool), *tool_arguments]
    # As Python does for a script: tools import one another.
    sys.path.insert(0, str(tool.parent))
    runpy.run_path(str(tool), run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(main())
