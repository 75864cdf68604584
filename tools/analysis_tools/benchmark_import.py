"""How long the library takes to import, and every tool to show its help, against the packages below them.

python tools/analysis_tools/benchmark_import.py [--repeats 5] [--no-tools]

Processor time (user and system) of fresh processes in turns, so that other programs on the machine matter little. A
factor is a median over that of `import mmseg, mmcv, mmengine.runner`; `mmdrsl --help` is in seconds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmdrsl_cli import find_root

PACKAGES = "mmseg, mmcv, mmengine.runner"
_TOOL = (
    "import runpy, sys; sys.argv = [{0!r}, '--help']; sys.path.insert(0, {1!r}); "
    "runpy.run_path({0!r}, run_name='__main__')"
)


def processor_time(command: Sequence[str]) -> float:
    """Measure a program.

    Args:
        command: Arguments of the interpreter.

    Returns:
        Seconds in user and system mode.

    Raises:
        CalledProcessError: It failed.
    """
    before = os.times()
    subprocess.run([sys.executable, *command], check=True, capture_output=True)
    after = os.times()
    return (
        after.children_user - before.children_user + after.children_system - before.children_system
    )


def median_times(programs: Mapping[str, Sequence[str]], repeats: int) -> dict[str, float]:
    """Measure several programs in turns, after one run of each that fills the disk's cache.

    Args:
        programs: Arguments of the interpreter by name.
        repeats: Processes per program, >= 1.

    Returns:
        Median seconds by name.
    """
    for command in programs.values():
        processor_time(command)
    measured = [
        {name: processor_time(command) for name, command in programs.items()}
        for _ in range(repeats)
    ]
    return {name: statistics.median(times[name] for times in measured) for name in programs}


def imports() -> dict[str, list[str]]:
    """What imports the packages below, and the library, by name and in this order."""
    lines = (f"import {PACKAGES}", "import mmdrsl")
    return {line: ["-c", line] for line in lines}


def tools(root: Path) -> dict[str, list[str]]:
    """Find the programs of a checkout or an installation.

    Args:
        root: Folder that holds `tools`.

    Returns:
        What shows the help of each, by path below the folder.
    """
    files = sorted((root / "tools").rglob("*.py"))
    return {
        str(path.relative_to(root)): ["-c", _TOOL.format(str(path), str(path.parent))]
        for path in files
    }


def main() -> None:
    """Read the command line, measure and print."""
    parser = argparse.ArgumentParser(description="Measure how long importing takes")
    parser.add_argument("--repeats", type=int, default=5, help="processes per program")
    parser.add_argument("--no-tools", action="store_true", help="the imports alone")
    args = parser.parse_args()
    if args.repeats < 1:
        parser.error(f"--repeats: expected at least 1, found {args.repeats}")
    programs = {**imports(), "mmdrsl --help": ["-m", "mmdrsl_cli", "--help"]}
    if not args.no_tools:
        programs |= tools(find_root())
    times = median_times(programs, args.repeats)
    base = times[f"import {PACKAGES}"]
    for name, seconds in times.items():
        print(f"{seconds:7.2f} s {seconds / base:6.2f}  {name}")


if __name__ == "__main__":
    main()
