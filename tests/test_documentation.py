"""What the pages promise exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_idea_table_names_existing_files():
    text = (ROOT / "README.md").read_text()
    table = text.split("| idea | file |")[1].split("\n\n")[0]
    paths = re.findall(r"`([^`]+\.py)`", table)
    assert len(paths) >= 12
    assert [path for path in paths if not (ROOT / path).is_file()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_and_commands_lead_somewhere(page):
    text = page.read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []
    named = re.findall(r"\b((?:configs|tools)/[\w/]+\.(?:py|sh))\b", text)
    assert [path for path in named if not (ROOT / path).is_file()] == []


def anchors(page):
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_into_pages_lead_to_headings(page):
    found = re.findall(r"\]\(([^)#:]*)#([^)]+)\)", page.read_text().replace("\n", ""))
    for name, anchor in found:
        assert anchor in anchors(page.parent / name if name else page), (name, anchor)


def test_method_page_names_existing_functions():
    from mmdrsl.methods.drsl import functional

    names = re.findall(r"`functional\.(\w+)`", (ROOT / "docs" / "method.md").read_text())
    assert len(names) >= 8
    assert [name for name in names if not hasattr(functional, name)] == []


def test_makefile_targets_of_the_readme_exist():
    targets = re.findall(r"^make ([\w-]+)", (ROOT / "README.md").read_text(), re.MULTILINE)
    makefile = (ROOT / "Makefile").read_text()
    assert targets
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)
