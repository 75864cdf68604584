"""Where the files beside the library are: configs, tools and the model index.

A checkout has them beside the package. A wheel carries them inside it, in `.mim`, which is OpenMMLab's convention.
The command `mmdrsl` loads this file without importing the package, so only the standard library may be imported here.
"""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
FOLDERS = ("configs", "tools")


def files_root() -> Path:
    """Find the folder that holds `configs`, `tools` and `model-index.yml`.

    Returns:
        `mmdrsl/.mim` of an installed wheel, or the checkout.

    Raises:
        FileNotFoundError: Neither place has them.
    """
    places = (PACKAGE / ".mim", PACKAGE.parent)
    for place in places:
        if all((place / folder).is_dir() for folder in FOLDERS):
            return place
    raise FileNotFoundError(
        f"Expected the folders {' and '.join(FOLDERS)} in {places[0]} or {places[1]}, found neither. Install mmdrsl "
        "from a wheel or from a checkout: pip install ."
    )


def configs_folder() -> Path:
    """Find the folder of the configs.

    Returns:
        The folder.
    """
    return files_root() / "configs"


def tools_folder() -> Path:
    """Find the folder of the command line tools.

    Returns:
        The folder.
    """
    return files_root() / "tools"
