"""What the pages promise exists."""

import ast
import inspect
import re
from pathlib import Path

import pytest
from mmengine.config import Config
from mmseg.registry import HOOKS, MODELS, TASK_UTILS

import mmdrsl_cli
from mmdrsl.benchmark.tricks import TRICKS
from mmdrsl.methods.drsl import functional

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [README, *DOCS]


def by_name(path):
    return path.name


def test_readme_is_short():
    assert len(README.read_text().splitlines()) <= 150


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=by_name)
def test_links_lead_somewhere(page):
    text = page.read_text()
    links = [link for link in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


def anchors(page):
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=by_name)
def test_links_into_pages_lead_to_headings(page):
    found = re.findall(r"\]\(([^)#:]*)#([^)]+)\)", re.sub(r"\n *", "", page.read_text()))
    for name, anchor in found:
        assert anchor in anchors(page.parent / name if name else page), (name, anchor)


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_named_files_exist(page):
    # Examples lie beside a checkout.
    text = page.read_text().replace("../mmdrsl/", "")
    named = set(re.findall(r"\b((?:configs|tools|mmdrsl|tests)/[\w/.-]*\w)", text))
    named = {path for path in named if "NAME" not in path and "METHOD" not in path}
    assert sorted(path for path in named if not (ROOT / path).exists()) == []


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_commands_of_the_command_line_exist(page):
    text = page.read_text()
    used = re.findall(r"`mmdrsl ([a-z][a-z-]*)\b([^`\n]*)", text)
    for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL):
        used += re.findall(r"^mmdrsl ([a-z][a-z-]*)\b([^#\n]*)", block, re.MULTILINE)
    assert {command for command, _ in used} <= set(mmdrsl_cli.TOOLS)
    for _, arguments in used:
        for name in re.findall(r"(?<=\s)(?:configs/)?\w+/\w+\.py\b", arguments):
            if not name.startswith(("my_folder", "mine/")):
                assert (ROOT / "configs" / name.removeprefix("configs/")).is_file(), name


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_options_of_commands_exist(page):
    blocks = re.findall(r"```bash\n(.*?)```", page.read_text(), re.DOTALL)
    for line in "\n".join(blocks).replace("\\\n", " ").splitlines():
        found = re.match(r"(?:\w+=\S+ )?(?:python (tools/\S+)|mmdrsl ([a-z][a-z-]*))", line)
        if found is None:
            continue
        tool = found[1] or f"tools/{mmdrsl_cli.TOOLS[found[2]][0]}"
        source = (ROOT / tool).read_text()
        for name, file in (
            ("conversion_command", "datasets/conversion_command.py"),
            ("add_trust_option", "engine/launch.py"),
            ("add_config_options", "engine/config_options.py"),
        ):
            if name in source:
                source += (ROOT / "mmdrsl" / file).read_text()
        options = re.findall(r"(?<=[\s\[])--[a-z][a-z-]*", line)
        assert [option for option in options if f'"{option}"' not in source] == [], line


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_methods_and_tricks_of_benchmark_commands_exist(page):
    text = page.read_text().replace("\\\n", " ")
    methods = {folder.name for folder in (ROOT / "configs").iterdir()}
    for kind, known in (("methods", methods), ("tricks", set(TRICKS))):
        for words in re.findall(rf"--{kind}((?: +[a-z][\w=./]*)+)", text):
            asked = {word for word in words.split() if "=" not in word}
            assert asked <= known, sorted(asked - known)


# Written for people who know the old names.
HISTORY = ("experiments.md", "method.md")


@pytest.mark.parametrize("page", [p for p in PAGES if p.name not in HISTORY], ids=by_name)
def test_named_types_exist(page):
    source = "\n".join(path.read_text() for path in (ROOT / "mmdrsl").rglob("*.py"))
    defined = set(re.findall(r"^class (\w+)", source, re.MULTILINE))
    own = set(re.findall(r"^class (\w+)", page.read_text(), re.MULTILINE))
    kinds = "Dataset|Term|Hook|Loss|Policy|Sampler|Labeler|Gate"
    named = set(re.findall(rf"`([A-Z]\w*(?:{kinds}))\b", page.read_text()))
    assert sorted(named - defined - own) == []


def test_method_page_names_existing_functions():
    names = re.findall(r"`functional\.(\w+)`", (ROOT / "docs" / "method.md").read_text())
    assert len(names) >= 8
    assert [name for name in names if not hasattr(functional, name)] == []


def takes(kind, argument):
    """Whether a registered type has an argument."""
    found = next(filter(None, (registry.get(kind) for registry in (MODELS, HOOKS, TASK_UTILS))))
    return argument in inspect.signature(found).parameters


def ablations():
    page = (ROOT / "docs" / "method.md").read_text()
    table = page.split("<!-- ablations -->")[1].split("<!-- /ablations -->")[0]
    return dict(re.findall(r"^\| ([^|]+) \| `([^-`][^`]*)` \|$", table, re.MULTILINE))


@pytest.mark.parametrize("name", ablations())
def test_options_of_ablations_exist(name):
    cfg = Config.fromfile(ROOT / "configs/drsl/deeplabv3plus_carla2camvid.py")
    for option in ablations()[name].split():
        key, _, value = option.partition("=")
        parent, _, last = key.rpartition(".")
        if last == "type":
            assert HOOKS.get(value) is not None
        else:
            node = cfg
            for part in parent.split("."):
                node = node[part]
            # A label policy without a type is class-balanced.
            kind = node.get("type", "ClassBalancedPolicy" if parent.endswith("policy") else None)
            assert last in node or (kind is not None and takes(kind, last)), option
        cfg.merge_from_dict({key: value})


def test_there_are_ablations():
    assert len(ablations()) >= 10


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_python_blocks_are_python(page):
    for code in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
        ast.parse(inspect.cleandoc(code))


def test_makefile_targets_of_the_readme_exist():
    targets = re.findall(r"^make ([\w-]+)", README.read_text(), re.MULTILINE)
    makefile = (ROOT / "Makefile").read_text()
    assert targets
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)
