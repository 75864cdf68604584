"""The files with versions agree with pyproject.toml."""

import re
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]


def declared():
    """Requirements of pyproject.toml, extras included; tomllib is newer than Python 3.10."""
    text = (ROOT / "pyproject.toml").read_text()
    lists = re.findall(
        r"^(?:dependencies|dev|export|translation|vit) = \[(.*?)\]$", text, re.M | re.S
    )
    assert len(lists) == 5
    return [Requirement(entry) for part in lists for entry in re.findall(r'"([^"]+)"', part)]


def pinned(name):
    lines = (ROOT / name).read_text().splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(entry.name): str(entry.specifier)[2:] for entry in found}


def test_oldest_versions_are_the_lower_bounds():
    bounds = {
        canonicalize_name(entry.name): specifier.version
        for entry in declared()
        for specifier in entry.specifier
        if specifier.operator == ">="
    }
    assert pinned("constraints-oldest.txt") == bounds


def test_tried_versions_are_within_the_declared_ranges():
    tried = pinned("constraints.txt")
    for entry in declared():
        name = canonicalize_name(entry.name)
        if name in tried and (
            entry.marker is None or entry.marker.evaluate({"python_version": "3.11"})
        ):
            assert tried[name] in entry.specifier, entry
