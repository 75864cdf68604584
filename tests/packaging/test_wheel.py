"""Source distribution and wheel are complete: a training runs from an installed wheel, away from the checkout."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONFIG = "drsl/deeplabv3plus_scenes2scenes.py"
# Two steps of warm-up, then one of each round.
FIVE_STEPS = [
    "train_cfg.max_iters=5",
    "train_cfg.val_interval=5",
    "default_hooks.self_training.warmup_iterations=2",
    *(f"default_hooks.self_training.rounds.{index}.iterations=1" for index in range(3)),
    # After two steps a model is sure of nothing; these labels are about the mechanism.
    "default_hooks.self_training.labeler.policy.lowest_threshold=0.05",
    "default_hooks.teacher.begin=2",
    "default_hooks.modes.kmeans_iteration=1",
]
PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]


def run(command, cwd, **variables):
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=400,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    return done.stdout


def files_of(folder):
    """Files below a folder of the checkout, as paths from its root."""
    found = (ROOT / folder).rglob("*")
    return {str(p.relative_to(ROOT)) for p in found if p.is_file() and p.suffix != ".pyc"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel, built from a source distribution, built from a copy of the checkout."""
    folder = tmp_path_factory.mktemp("build")
    # Building writes into the tree, and a checkout holds environments and results.
    left_out = shutil.ignore_patterns(
        ".*", "*.egg-info", "__pycache__", "build", "_build", "data", "weights", "work_dirs"
    )
    for name in ("configs", "docs", "mmdrsl", "tests", "tools"):
        shutil.copytree(ROOT / name, folder / "tree" / name, ignore=left_out)
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, folder / "tree")
    build = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
    run([sys.executable, "-c", build, folder], folder / "tree")
    (source,) = folder.glob("*.tar.gz")
    run([*PIP, "wheel", "--no-deps", "--no-build-isolation", "-w", folder, source], folder)
    (path,) = folder.glob("*.whl")
    return path


def test_wheel_holds_what_the_checkout_has(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    carried = {name.removeprefix("mmdrsl/.mim/") for name in names if "/.mim/" in name}
    single = {"model-index.yml", "docs/results/scenes_oracle_seed_0.json"}
    assert carried == {*single, *files_of("configs"), *files_of("tools")}
    package = {name for name in names if name.startswith("mmdrsl/") and "/.mim/" not in name}
    assert package == files_of("mmdrsl")
    assert "mmdrsl_cli.py" in names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_training_from_an_installed_wheel(wheel, scenes_root, tmp_path):
    site = tmp_path / "site"
    run([*PIP, "install", "--no-deps", "--no-compile", "--target", site, wheel], tmp_path)
    command = [sys.executable, "-m", "mmdrsl_cli", "train", CONFIG, "--work-dir", "out"]
    variables = {"PYTHONPATH": str(site), "MMDRSL_SCENES": str(scenes_root)}
    output = run([*command, "--cfg-options", *FIVE_STEPS], tmp_path, **variables)
    assert "mIoU" in output
    assert (tmp_path / "out" / "iter_5.pth").is_file()
    where = "import mmdrsl_cli; print(mmdrsl_cli.__file__, mmdrsl_cli.find_root(), sep='\\n')"
    places = run([sys.executable, "-c", where], tmp_path, **variables).splitlines()
    assert places == [str(site / "mmdrsl_cli.py"), str(site / "mmdrsl" / ".mim")]
