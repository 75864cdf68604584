"""Imports that wait until a function is called."""

import importlib
import inspect
import subprocess
import sys

import pytest

from mmdrsl.imported_on_use import imported_on_use

NAME = "module_imported_on_use"


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / f"{NAME}.py").write_text(
        "def double(value, *, plus=0):\n    return 2 * value + plus\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield NAME
    sys.modules.pop(NAME, None)


def test_a_function_imports_its_module_when_it_is_called(module):
    with imported_on_use(module):
        double = importlib.import_module(module).double
        # MMEngine's registries ask every module for its file.
        inspect.getmodule(sys._getframe())
    assert module not in sys.modules
    assert double(3, plus=1) == 7
    assert double.__name__ == "double"
    assert importlib.import_module(module).double is not double


def test_a_missing_module_stays_missing(module):
    with (
        imported_on_use("module_that_is_missing", "package_that_is_missing.module"),
        pytest.raises(ModuleNotFoundError),
    ):
        importlib.import_module("module_that_is_missing")


def test_an_imported_module_is_left_alone(module):
    imported = importlib.import_module(module)
    with imported_on_use(module):
        assert importlib.import_module(module) is imported
    assert sys.modules[module] is imported


def test_an_error_leaves_no_stand_in_behind(module):
    with pytest.raises(RuntimeError), imported_on_use(module):
        raise RuntimeError
    assert module not in sys.modules


def test_parts_of_mmsegmentation_that_use_these_packages_work():
    pytest.importorskip("timm")
    code = """
import sys, numpy, mmdrsl
assert not {"timm", "scipy.optimize", "scipy.ndimage"} & set(sys.modules)
from mmseg.models.backbones import TIMMBackbone
from mmseg.models.assigners.hungarian_assigner import linear_sum_assignment
TIMMBackbone("resnet18", pretrained=False)
assert linear_sum_assignment(numpy.eye(2))[1].tolist() == [1, 0]
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
