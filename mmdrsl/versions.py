"""The installed versions and the device in words, for records of what was run."""

from __future__ import annotations

import importlib.metadata
import platform

import torch


def environment() -> str:
    """Versions and device in one line."""
    import mmdrsl

    packages = {
        "torch": "torch",
        "onedl-mmengine": "mmengine",
        "onedl-mmsegmentation": "mmseg",
        "numpy": "numpy",
    }
    versions = [f"mmdrsl {mmdrsl.__version__}", f"Python {platform.python_version()}"]
    for distribution, name in packages.items():
        try:
            versions.append(f"{name} {importlib.metadata.version(distribution)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"{name} unknown")
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    return ", ".join([*versions, device])
