"""One readable message where the installed packages cannot work together.

The check runs before anything of MMSegmentation is imported, because its own failure (a missing compiled module deep in
an import chain) does not tell a user what to do.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util

MINIMUM_TORCH = (2, 6)
INSTALL_COMMAND = (
    "pip install onedl-mmengine==0.10.12 onedl-mmcv==2.3.6 onedl-mmsegmentation==1.4.2"
)


def _release(version: str) -> tuple[int, int]:
    """Return (major, minor) of a version such as ``2.14.1+cpu``."""
    major, minor = version.split("+")[0].split(".")[:2]
    return int(major), int("".join(ch for ch in minor if ch.isdigit()) or 0)


def check_environment() -> None:
    """Raise one ImportError that says what is wrong and which line mends it.

    Raises:
        ImportError: torch is missing or older than 2.6, MMEngine, MMCV or MMSegmentation is missing, or the installed
            MMCV/MMSegmentation pair fails to import (the original ``mmcv-lite`` with ``mmsegmentation`` lacks
            ``mmcv._ext``).
    """
    if importlib.util.find_spec("torch") is None:
        raise ImportError(
            "mmdrsl needs PyTorch, which is not installed. Run: pip install torch torchvision"
        )
    torch_version = importlib.metadata.version("torch")
    if _release(torch_version) < MINIMUM_TORCH:
        raise ImportError(
            f"mmdrsl needs torch >= {'.'.join(map(str, MINIMUM_TORCH))}, found {torch_version}. "
            "Run: pip install --upgrade torch torchvision"
        )
    missing = [
        name for name in ("mmengine", "mmcv", "mmseg") if importlib.util.find_spec(name) is None
    ]
    if missing:
        raise ImportError(
            f"mmdrsl stands on MMSegmentation; not installed: {', '.join(missing)}. "
            f"Run: {INSTALL_COMMAND}"
        )
    try:
        importlib.import_module("mmseg.models")
    except (ImportError, AssertionError) as error:
        raise ImportError(
            f"The installed MMCV and MMSegmentation do not work together ({error}). mmdrsl needs their maintained "
            "continuation, which runs without compiled operators. Run: pip uninstall -y mmcv mmcv-lite mmcv-full "
            f"mmengine mmsegmentation && {INSTALL_COMMAND}"
        ) from error
