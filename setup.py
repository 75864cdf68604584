"""Adds configs, tools, model index and the demo's stored oracle to a built package.

Everything else is in pyproject.toml.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
STORED_ORACLE = "docs/results/scenes_oracle_seed_0.json"


class BuildWithFiles(build_py):
    """Copies what OpenMMLab's tools look for in `<package>/.mim`; an editable install uses the checkout's own."""

    def run(self) -> None:
        """Build the package, then copy the files into it."""
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / "mmdrsl" / ".mim"
        shutil.rmtree(target, ignore_errors=True)
        for folder in ("configs", "tools"):
            ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
            shutil.copytree(ROOT / folder, target / folder, ignore=ignored)
        shutil.copy(ROOT / "model-index.yml", target)
        # The demo shows it.
        (target / STORED_ORACLE).parent.mkdir(parents=True)
        shutil.copy(ROOT / STORED_ORACLE, target / STORED_ORACLE)


setup(cmdclass={"build_py": BuildWithFiles})
