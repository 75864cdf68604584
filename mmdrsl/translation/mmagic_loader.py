"""Imports the few modules of MMagic 1.2.0 that a CycleGAN needs, also where MMagic as a whole does not import.

MMagic is unmaintained: its ``__init__`` refuses today's MMCV, its model package imports diffusers, transformers and
compiled operators, and one of its modules uses ``np.bool8``, which NumPy 2 lacks. The modules of its CycleGAN run here.
`load_mmagic` tries the plain import first; where that fails, it registers the packages whose ``__init__`` are in the
way as bare packages over the installed folder, and imports the modules below them.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import numpy as np

INSTALL_COMMAND = "make translation"
BARE_PACKAGES = (
    "mmagic",
    "mmagic.engine",
    "mmagic.engine.optimizers",
    "mmagic.models",
    "mmagic.models.archs",
    "mmagic.models.editors",
)
"""Packages whose ``__init__`` imports what a CycleGAN does not need."""
MODULES = (
    "mmagic.engine.optimizers.multi_optimizer_constructor",
    "mmagic.models.archs.patch_disc",
    "mmagic.models.editors.cyclegan",
)
"""What `load_mmagic` imports; these register CycleGAN, its networks and the constructor of its two optimizers."""


def load_mmagic() -> ModuleType:
    """Import MMagic's CycleGAN and register it in MMagic's registry; a second call changes nothing.

    Returns:
        The module ``mmagic.models.editors.cyclegan``.

    Raises:
        ImportError: MMagic or a package that it needs is not installed; the message says what to run.
    """
    if importlib.util.find_spec("mmagic") is None:
        raise ImportError(
            f"The translator needs MMagic, which is not installed. Run: {INSTALL_COMMAND}"
        )
    try:
        if MODULES[-1] not in sys.modules:
            _import_plainly_or_narrowly()
        return importlib.import_module(MODULES[-1])
    except ImportError as error:
        raise ImportError(
            f"MMagic's CycleGAN does not import ({error}). Run: {INSTALL_COMMAND}"
        ) from error


def _import_plainly_or_narrowly() -> None:
    try:
        importlib.import_module("mmagic.models")
        importlib.import_module("mmagic.engine")
    except (ImportError, AssertionError, AttributeError):
        import_narrowly()


def import_narrowly() -> None:
    """Import `MODULES` without running the ``__init__`` of `BARE_PACKAGES`.

    Raises:
        ImportError: MMagic, click or requests is not installed.
    """
    root = _installed_folder()
    for name in BARE_PACKAGES:
        # Python has dropped those whose __init__ failed; the others are as good as ours.
        if name not in sys.modules:
            _register_bare(name, root.joinpath(*name.split(".")[1:]))
    with _bool8():
        for module in MODULES:
            importlib.import_module(module)


def _installed_folder() -> Path:
    # PathFinder reads no entry of sys.modules, which a failed import may have left behind.
    spec = importlib.machinery.PathFinder.find_spec("mmagic")
    if spec is None or spec.origin is None:
        raise ImportError("mmagic is not installed")
    return Path(spec.origin).parent


def _register_bare(name: str, folder: Path) -> None:
    spec = importlib.machinery.ModuleSpec(name, loader=None, is_package=True)
    spec.submodule_search_locations = [str(folder)]
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, module)


@contextmanager
def _bool8() -> Iterator[None]:
    """Give NumPy the old name of its boolean type while MMagic is imported."""
    if hasattr(np, "bool8"):
        yield
        return
    np.bool8 = np.bool_  # type: ignore[attr-defined]
    try:
        yield
    finally:
        del np.bool8  # type: ignore[attr-defined]
