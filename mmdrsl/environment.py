"""One readable message where the installed packages cannot work together.

The check runs before anything of MMSegmentation is imported, because its own failure (a missing compiled module deep in
an import chain) does not tell a user what to do.
"""

from __future__ import annotations

import gc
import importlib
import importlib.metadata
import importlib.util
import io
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

from .imported_on_use import imported_on_use

MINIMUM_TORCH = (2, 6)
INSTALL_COMMAND = (
    "pip install onedl-mmengine==0.10.12 onedl-mmcv==2.3.6 onedl-mmsegmentation==1.4.2"
)
# What the packages say on import about parts that nothing here uses: the one as a warning, the other on stdout.
UNUSED_OPERATOR = (
    "Fail to import ``MultiScaleDeformableAttention`` from ``mmcv.ops.multi_scale_deform_attn``"
)
UNUSED_DATASET = "Could not import OneDL"
# MMSegmentation imports these for one part each; together they take a third of the time of `import mmdrsl`.
SELDOM_USED = ("timm", "scipy.interpolate", "scipy.ndimage", "scipy.optimize")


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
        with _collector_off(), imported_on_use(*SELDOM_USED):
            _import_mmseg()
    except (ImportError, AssertionError) as error:
        raise ImportError(
            f"The installed MMCV and MMSegmentation do not work together ({error}). mmdrsl needs their maintained "
            "continuation, which runs without compiled operators. Run: pip uninstall -y mmcv mmcv-lite mmcv-full "
            f"mmengine mmsegmentation && {INSTALL_COMMAND}"
        ) from error


def _import_mmseg() -> None:
    """Import the parts of MMSegmentation that say something on import, without the two notes above.

    Whatever else is printed or warned of appears.
    """
    warnings.filterwarnings(
        "ignore",
        message=re.escape(UNUSED_OPERATOR),
        category=UserWarning,
        module=r"mmcv\.cnn\.bricks\.transformer",
    )
    importlib.import_module("mmseg.models")
    printed = io.StringIO()
    try:
        with redirect_stdout(printed):
            importlib.import_module("mmseg.datasets")
    finally:
        lines = printed.getvalue().splitlines(keepends=True)
        sys.stdout.writelines(line for line in lines if line.strip() != UNUSED_DATASET)


@contextmanager
def _collector_off() -> Iterator[None]:
    """Import without the garbage collector, which looks again and again at objects that all stay."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
