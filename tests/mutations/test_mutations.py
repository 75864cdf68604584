import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mutations import MUTATIONS

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_mutation_fits_the_source(mutation, tmp_path):
    target = tmp_path / mutation.path
    target.parent.mkdir(parents=True)
    shutil.copy(ROOT / mutation.path, target)
    before = mutation.apply(tmp_path)
    assert target.read_text() != before
    compile(target.read_text(), mutation.path, "exec")
    assert all((ROOT / test).is_file() for test in mutation.tests)


# A run of pytest for each of them, half of whose time goes into imports.
@pytest.mark.timeout(3600)
@pytest.mark.slow
def test_every_mutation_is_noticed():
    done = subprocess.run(
        [sys.executable, "tests/mutations/run.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:]
