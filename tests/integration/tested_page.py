"""The page that says which method was trained on which model, and which configs were built: docs/tested.md."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from config_folders import LEAVES, METHODS, MODELS_TO_ADAPT, load, name_of
from run_tools import ROOT

PAGE = ROOT / "docs" / "tested.md"
ALL_STEPS = {(method, model) for method in METHODS for model in MODELS_TO_ADAPT}
STEPS = "## A training step of every method on every model"
CONFIGS = "## Every config"
NOT_RUN = "not run"
HEADER = """# What was tested

`make test-full` writes this page once all of it passed; `make test` checks that no method, model or config is missing.
What came since is "not run" (`python tests/integration/tested_page.py` adds it). Of that, `make test` steps every
method on one network, and builds one config of each kind.

"""
ABOUT_STEPS = """\
One step of the first round, at a fraction of the width: the loss is finite, every term is in it, every trained weight
moves.
"""
ABOUT_CONFIGS = """\
Built at full width, with its optimizer. Parameters are those that are trained, heads and discriminators included.
"""


def distinct_models() -> dict[str, list[str]]:
    """Names of leaves by the text of their model: leaves with the same model are built once."""
    found: dict[str, list[str]] = {}
    for path in LEAVES:
        found.setdefault(str(load(path).model), []).append(name_of(path))
    return found


@dataclass
class Tested:
    """What passed so far.

    Attributes:
        steps: Pairs of method and model.
        parameters: Number of trained parameters by the name of a config.
    """

    steps: set[tuple[str, str]] = field(default_factory=set)
    parameters: dict[str, int] = field(default_factory=dict)

    def page(self) -> str | None:
        """The page, or None as long as something is missing."""
        counts = {}
        for names in distinct_models().values():
            built = [self.parameters[name] for name in names if name in self.parameters]
            counts |= dict.fromkeys(names, built[0]) if built else {}
        if self.steps != ALL_STEPS or len(counts) != len(LEAVES):
            return None
        return render(self.steps, {name: f"{count / 1e6:.1f}" for name, count in counts.items()})


def render(steps: set[tuple[str, str]], parameters: dict[str, str]) -> str:
    """The page, with "not run" for steps and configs that are not among those that passed."""
    models = sorted(MODELS_TO_ADAPT)
    rows = [["method", *models], ["---"] * (len(models) + 1)]
    rows += [
        [method, *("passed" if (method, model) in steps else NOT_RUN for model in models)]
        for method in METHODS
    ]
    configs = [["config", "million parameters"], ["---", "---"]]
    configs += [[name, parameters.get(name, NOT_RUN)] for name in sorted(map(name_of, LEAVES))]
    return (
        f"{HEADER}{STEPS}\n\n{ABOUT_STEPS}\n{table(rows)}\n{CONFIGS}\n\n{ABOUT_CONFIGS}\n"
        f"{table(configs)}"
    )


def passed_on(page: Path = PAGE) -> tuple[set[tuple[str, str]], dict[str, str]]:
    """Steps that passed and parameters of configs that were built, as a page says."""
    (_, *models), *rows = rows_below(STEPS, page)
    steps = {
        (row[0], model)
        for row in rows
        for model, cell in zip(models, row[1:], strict=True)
        if cell == "passed"
    }
    configs = {name: value for name, value in rows_below(CONFIGS, page)[1:] if value != NOT_RUN}
    return steps, configs


def table(rows: list[list[str]]) -> str:
    """A table of Markdown."""
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def rows_below(heading: str, page: Path = PAGE) -> list[list[str]]:
    """Cells of the table below a heading of the page, its rule left out."""
    lines = page.read_text(encoding="utf-8").split(heading, 1)[1].split("\n## ")[0].splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line[:1] == "|"]
    return [row for row in rows if set(row[0]) != {"-"}]


if __name__ == "__main__":
    PAGE.write_text(render(*passed_on()), encoding="utf-8")
