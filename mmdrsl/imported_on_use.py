"""Imports of other packages that wait until what they bring is called."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any


class _ImportedOnUse(ModuleType):
    """Stands for a module whose functions alone are read while others import it."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        # The import system and `inspect` ask every module for these.
        if name.startswith("__"):
            raise AttributeError(name)
        module = self.__name__

        def function(*args: Any, **kwargs: Any) -> Any:
            return getattr(importlib.import_module(module), name)(*args, **kwargs)

        function.__name__ = name
        return function


@contextmanager
def imported_on_use(*names: str) -> Iterator[None]:
    """Let modules that are imported meanwhile hold functions of these, each of which imports its module when called.

    A module that is missing or already imported is left alone. Afterwards an import of any of them is the ordinary one.

    Args:
        names: Modules of which only functions are used, such as ``scipy.optimize``.
    """
    waiting = [name for name in names if name not in sys.modules and _is_installed(name)]
    sys.modules.update({name: _ImportedOnUse(name) for name in waiting})
    try:
        yield
    finally:
        for name in waiting:
            del sys.modules[name]


def _is_installed(name: str) -> bool:
    """Look for a module; its package alone is imported."""
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False
