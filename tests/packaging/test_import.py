"""What importing the library costs and says."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tools").rglob("*.py"))
# Each takes as long to import as a good part of the library.
HEAVY = (
    "timm",
    "scipy.optimize",
    "torchvision",
    "torch._dynamo",
    "sklearn",
    "matplotlib",
    "onnx",
    "onnxruntime",
)
# More than this share above the packages below is too much.
LIMIT = 1.25
# A copy of a process with the library in it shows what a tool adds.
HELP_OF_TOOLS = f"""
import os, pathlib, runpy, sys
import mmdrsl
print("library", sorted(set({HEAVY}) & set(sys.modules)), flush=True)
for tool in sorted(map(str, pathlib.Path("tools").rglob("*.py"))):
    if os.fork() == 0:
        sys.argv = [tool, "--help"]
        sys.path.insert(0, os.path.dirname(tool))
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        try:
            runpy.run_path(tool, run_name="__main__")
        except SystemExit as end:
            found = sorted(set({HEAVY}) & set(sys.modules))
            print(tool, end.code, found, file=sys.stderr, flush=True)
        finally:
            os._exit(0)
    os.wait()
"""


@pytest.fixture(scope="module")
def benchmark():
    return runpy.run_path(str(ROOT / "tools/analysis_tools/benchmark_import.py"))


def python(*arguments):
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )


def test_nothing_heavy_is_imported_and_nothing_said():
    done = python("-c", HELP_OF_TOOLS)
    assert done.stdout == "library []\n"
    assert done.stderr.splitlines() == [f"{tool} 0 []" for tool in TOOLS]


def test_other_notes_of_the_packages_appear():
    """The same words from elsewhere, and other words from the same place."""
    code = (
        "import warnings, sys, mmdrsl\n"
        "from mmdrsl.environment import UNUSED_OPERATOR\n"
        "warnings.warn(UNUSED_OPERATOR)\n"
        "warnings.warn_explicit('another', UserWarning, 'f', 1, 'mmcv.cnn.bricks.transformer')\n"
        "warnings.warn_explicit(UNUSED_OPERATOR, UserWarning, 'f', 2, 'mmcv.cnn.bricks.transformer')\n"
        "print('Could not import OneDL')"
    )
    done = python("-c", code)
    assert done.stdout == "Could not import OneDL\n"
    said = [line for line in done.stderr.splitlines() if "UserWarning" in line]
    assert ["another" in line for line in said] == [False, True]


@pytest.mark.slow
def test_import_takes_little_more_than_the_packages_below(benchmark):
    programs = benchmark["imports"]()
    times = benchmark["median_times"](programs, 5)
    packages, library = programs
    assert times[library] <= LIMIT * times[packages]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_help_of_every_tool_takes_little_more_than_the_packages_below(benchmark):
    packages, _ = benchmark["imports"]()
    programs = {packages: benchmark["imports"]()[packages], **benchmark["tools"](ROOT)}
    assert len(programs) > 20
    times = benchmark["median_times"](programs, 3)
    slow = {name: seconds for name, seconds in times.items() if seconds > LIMIT * times[packages]}
    assert not slow, times
