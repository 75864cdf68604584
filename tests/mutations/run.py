"""Test the tests: do one small wrong at a time to a copy of the source, and see that a test turns red.

python tests/mutations/run.py [--only TEXT]

Prints a table; ends with status 1 if any wrong goes unnoticed. About ten seconds per mutation.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from mutations import MUTATIONS

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("mmdrsl", "configs", "tests", "tools", "pyproject.toml")


def run_tests(root: Path, tests: tuple[str, ...]) -> tuple[int, str]:
    """Run test files in a copy of the repository; return pytest's status and the name of the first failing test."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    found = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - |$)", done.stdout, re.MULTILINE)
    return done.returncode, found[1].removeprefix("tests/") if found else ""


def main() -> int:
    """Run the mutations; return the exit status."""
    parser = argparse.ArgumentParser(description="Do the tests notice what goes wrong?")
    parser.add_argument("--only", default="", help="only mutations whose name contains this")
    chosen = [item for item in MUTATIONS if parser.parse_args().only in item.name]
    survivors = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name in COPIED:
            source = ROOT / name
            copy = shutil.copytree if source.is_dir() else shutil.copy
            copy(source, root / name)
        tests = tuple(sorted({test for mutation in chosen for test in mutation.tests}))
        status, first = run_tests(root, tests)
        if status != 0:
            print(f"The tests fail without any mutation (status {status}): {first}")
            return 1
        print("| what goes wrong | noticed by |\n| --- | --- |", flush=True)
        for mutation in chosen:
            content = mutation.apply(root)
            status, first = run_tests(root, mutation.tests)
            (root / mutation.path).write_text(content)
            # Status 1 means that tests ran and failed; anything else is no proof.
            noticed = first if status == 1 else f"NOTHING (status {status})"
            print(f"| {mutation.name} | {noticed} |", flush=True)
            if status != 1:
                survivors.append(mutation.name)
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} noticed.")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
