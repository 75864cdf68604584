"""Sphinx configuration of the documentation: the pages of this folder and an API reference from the docstrings."""

from __future__ import annotations

import inspect
import pkgutil
from pathlib import Path

from sphinx.application import Sphinx

import mmdrsl

# Room of the library, heading of its page.
ROOMS = {
    "methods": "Methods",
    "models": "Models",
    "datasets": "Data sets",
    "pseudo_labels": "Pseudo labels",
    "engine": "Engine",
    "translation": "Translation",
    "evaluation": "Evaluation",
    "inference": "Inference",
    "visualization": "Visualization",
}

project = "mmdrsl"
author = "The mmdrsl contributors"
release = mmdrsl.__version__
version = release

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
# Links lead to headings as on GitHub.
myst_heading_anchors = 4
# Names in docstrings stand in single backticks.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_default_options = {"members": True, "show-inheritance": True, "ignore-module-all": True}
# Docstrings of MMEngine and PyTorch are not written for this page.
autodoc_inherit_docstrings = False
napoleon_numpy_docstring = False
# Attributes stay in the docstring of their class; autodoc lists some of them a second time otherwise.
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"mmdrsl {release}"


def room_page(room: str, heading: str) -> str:
    """Write the reference of a package: its own docstring, then a section for each module below it.

    Args:
        room: Name of the package below `mmdrsl`.
        heading: Heading of the page.

    Returns:
        The page as reStructuredText.
    """
    folder = Path(mmdrsl.__file__).parent / room
    names = [found.name for found in pkgutil.walk_packages([str(folder)], f"mmdrsl.{room}.")]
    lines = [heading, "=" * len(heading), "", f".. automodule:: mmdrsl.{room}", ""]
    for name in names:
        title = name.removeprefix(f"mmdrsl.{room}.")
        lines += [title, "-" * len(title), "", f".. automodule:: {name}", ""]
    return "\n".join(lines)


def write_reference(app: Sphinx) -> None:
    """Write the pages of the API reference into `api`, leaving unchanged ones alone.

    Args:
        app: The running Sphinx.
    """
    folder = Path(app.srcdir) / "api"
    folder.mkdir(exist_ok=True)
    toctree = [".. toctree::", "   :maxdepth: 2", "", *(f"   {room}" for room in ROOMS)]
    pages = {"index": "\n".join(["API reference", "=============", "", *toctree, ""])}
    pages |= {room: room_page(room, heading) for room, heading in ROOMS.items()}
    for name, text in pages.items():
        page = folder / f"{name}.rst"
        if not page.is_file() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")


def skip_tuple_fields(
    app: Sphinx, what: str, name: str, member: object, skip: bool, options: object
) -> bool | None:
    """Leave out the fields of named tuples, whose generated docstrings only count them.

    Args:
        app: The running Sphinx.
        what: Kind of what the member belongs to.
        name: Name of the member.
        member: The member.
        skip: Whether autodoc leaves it out by itself.
        options: Options of the directive.

    Returns:
        True for such a field, otherwise None: autodoc decides.
    """
    return True if str(inspect.getdoc(member)).startswith("Alias for field number") else None


def setup(app: Sphinx) -> None:
    """Have the reference written before Sphinx looks for pages.

    Args:
        app: The running Sphinx.
    """
    app.connect("builder-inited", write_reference)
    app.connect("autodoc-skip-member", skip_tuple_fields)
