"""The report of one run: one self-contained HTML page, made from what the run has written in its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any

from mmdrsl.visualization import page
from mmdrsl.visualization.charts import bar_chart, step_chart
from mmdrsl.visualization.run_records import (
    coverage_per_round,
    evaluations,
    kept_share_per_round,
    learning_rates,
    losses,
    scores_per_round,
)
from mmdrsl.visualization.snapshots import Snapshot, read_snapshots

FOLDER = "report"
RECORD = "run.json"
PAGE = "report.html"
GROUPS = ("batch", "target", "validation")
# Snapshots and evaluations that are shown, the first and the latest ones.
_SHOWN = 5
_IOU = "IoU."
_WARMUP = "warm-up"
_COLORS = ("#94a3b8", "#60a5fa", "#2563eb", "#f59e0b", "#ea580c", "#7c3aed", "#0d9488", "#be185d")


@dataclass(frozen=True, kw_only=True)
class Start:
    """One process that trained the run.

    Attributes:
        timestamp: Name of its log folder.
        first_step: Steps that were done when it began.
        command: Its command line.
        versions: Versions and device.
    """

    timestamp: str
    first_step: int
    command: str
    versions: str


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What was run, as far as the training process knows it.

    Attributes:
        title: Name of the run.
        starts: Processes, oldest first.
        facts: Names and texts: data, network, seed.
        phases: Name and first step by phase, such as ``["round 1", 720]``.
        max_steps: Length of the run.
        finished_steps: Steps that were done when the page was last written.
        classes: Class names; none where the run segments nothing.
        palette: One RGB color (0..255) per class.
        validation_images: Labeled images that it is evaluated on.
        config: Its config file in the work folder.
        seed: Of the training.
    """

    title: str
    starts: Sequence[Start]
    facts: Sequence[tuple[str, str]]
    phases: Sequence[tuple[str, int]]
    max_steps: int
    finished_steps: int
    classes: Sequence[str] = ()
    palette: Sequence[Sequence[int]] = ()
    validation_images: int = 0
    config: str = ""
    seed: int | None = None

    def text(self) -> str:
        """The record as JSON."""
        return json.dumps(asdict(self), indent=1)


def read_record(work_dir: Path) -> RunRecord | None:
    """The record of a run's folder.

    Args:
        work_dir: The folder.

    Returns:
        The record; None where there is none.
    """
    path = work_dir / FOLDER / RECORD
    if not path.is_file():
        return None
    content = json.loads(path.read_text(encoding="utf-8"))
    starts = [Start(**entry) for entry in content.pop("starts")]
    return RunRecord(starts=starts, **content)


def render_run_report(work_dir: Path) -> str:
    """Write the page of a run.

    Args:
        work_dir: Its folder, with the record.

    Returns:
        HTML with styles, pictures and charts inside; it loads nothing from elsewhere.

    Raises:
        FileNotFoundError: The folder has no record.
    """
    record = read_record(work_dir)
    if record is None:
        raise FileNotFoundError(
            f"{work_dir / FOLDER} has no {RECORD}: expected the work folder of a run that had a RunReportHook."
        )
    found = evaluations(work_dir, [start.timestamp for start in record.starts])
    starts = {start.timestamp: start.first_step for start in record.starts}
    curves, rates = losses(work_dir, starts), learning_rates(work_dir, starts)
    snapshots = {group: read_snapshots(work_dir / FOLDER, group) for group in GROUPS}
    sections = [
        page.section("run", "What was run", "", _facts(record)),
        page.section("unknown", "What is not known", "", _unknown(record, work_dir, found, curves)),
        page.section(
            "losses",
            "Losses and learning rate",
            "Losses are means of the last steps before each line of the log; the total is what is optimized. Dashed: a "
            "round begins, where terms are added.",
            _losses(record, curves, rates),
        ),
        page.section("rounds", "Over the run", "", _rounds(record, work_dir, found)),
        page.section(
            "classes",
            "IoU per class",
            f"On {record.validation_images} validation images. " + _means_text(found),
            _class_bars(record, found),
        ),
        page.section(
            "kept",
            "Labels per class",
            "Share of the pixels predicted as a class that got a pseudo label. It says how many labels there are, not "
            "how many of them are right.",
            _kept(record, work_dir),
        ),
        page.section(
            "validation",
            "Validation images",
            "Taken at even steps from the set, not by result.",
            _image_rows(record, snapshots["validation"], ("validation image", "label")),
        ),
        page.section(
            "target",
            "Target training images",
            "Taken at even steps from the set. Dark pixels have no label; confidence runs from violet (0) to yellow "
            "(1).",
            _image_rows(record, snapshots["target"], ("target image",)),
        ),
        page.section(
            "batch",
            "Training batches",
            "The first image of each domain in the first batch of every phase, as the network gets it.",
            _batches(record, snapshots["batch"]),
        ),
        page.section(
            "legend",
            "Legend",
            "",
            page.class_legend(record.classes, record.palette) if record.classes else "",
        ),
        page.section("config", "Config", "", _config(work_dir / record.config)),
    ]
    return page.document(f"{record.title}: report", _header(record, found) + "".join(sections))


def phase_at(record: RunRecord, step: int) -> str:
    """What had ended when a number of steps was done, in words.

    Args:
        record: The record.
        step: Finished steps.

    Returns:
        For instance ``end of round 1``, ``in round 2``; the empty text where the run has no phases.
    """
    ends = dict(zip([begin for _, begin in record.phases[1:]], record.phases, strict=False))
    if len(record.phases) < 2:
        return ""
    if step in ends:
        name = ends[step][0]
        return f"end of the {name}" if name == _WARMUP else f"end of {name}"
    name = [name for name, begin in record.phases if begin < max(step, 1)][-1]
    return f"end of {name}" if step == record.max_steps else f"in {name}"


def _at(record: RunRecord, step: int) -> str:
    phase = phase_at(record, step)
    return f"Step {step}, {phase}" if phase else f"Step {step}"


def _header(record: RunRecord, found: Mapping[int, Mapping[str, float]]) -> str:
    done = record.finished_steps >= record.max_steps
    state = "finished" if done else f"step {record.finished_steps} of {record.max_steps}"
    tiles = []
    if found:
        last = max(found)
        tiles = [
            f'<div style="border-color:#2563eb">{escape(_mean_title(name, found[last]))}'
            f"<b>{found[last][name]:.1f}</b> % at step {last}</div>"
            for name in _means(found)
            if name in found[last]
        ]
    boxes = f'<div class="tiles">{"".join(tiles)}</div>' if tiles else ""
    return f"<header><h1>{escape(record.title)}</h1><p>{escape(state)}</p>{boxes}</header>"


def _facts(record: RunRecord) -> str:
    starts = [
        (
            "command" if start.first_step == 0 else f"resumed at step {start.first_step}",
            start.command,
        )
        for start in record.starts
    ]
    versions = [("versions", text) for text in dict.fromkeys(s.versions for s in record.starts)]
    return page.facts([*starts, *versions, *record.facts])


def _unknown(
    record: RunRecord,
    work_dir: Path,
    found: Mapping[int, Mapping[str, float]],
    curves: Mapping[str, Mapping[int, float]],
) -> str:
    lines = []
    if record.finished_steps < record.max_steps:
        lines.append(
            f"How the run ends: {record.finished_steps} of {record.max_steps} steps are done."
        )
    if record.validation_images == 0:
        lines.append(
            "How good the model is: there are no validation labels, so nothing here is measured against the truth. "
            "Losses and confidence fall and rise with wrong labels, too."
        )
    elif not found:
        lines.append("How good the model is: nothing has been evaluated yet.")
    else:
        last = found[max(found)]
        missing = [name for name in record.classes if f"{_IOU}{name}" not in last]
        if missing:
            lines.append(
                f"The IoU of {', '.join(missing)}: no pixel of the validation images has or gets them."
            )
        lines.append(
            "How it does on other images: where a checkpoint or a setting is chosen by these figures, they flatter it."
        )
    if coverage_per_round(work_dir):
        lines.append(
            "How many pseudo labels are right: confidence is the model's own word, and the target has no labels."
        )
    if record.seed is not None:
        lines.append(f"The spread over seeds: this is seed {record.seed} alone.")
    if not curves:
        lines.append(
            "The losses so far: no line is logged yet, or vis_backends has no LocalVisBackend that keeps them in the "
            "run's folder."
        )
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def _losses(
    record: RunRecord, curves: Mapping[str, Mapping[int, float]], rates: Mapping[int, float]
) -> str:
    if not curves:
        return ""
    colors = {name: _COLORS[index % len(_COLORS)] for index, name in enumerate(curves)}
    colors["loss"] = "#111827"
    named = {("total" if name == "loss" else name): values for name, values in curves.items()}
    colors["total"] = colors["loss"]
    panels: dict[str, Mapping[str, Mapping[int, float]]] = {"loss": named}
    if rates:
        panels["learning rate"] = {"rate": rates}
        colors["rate"] = "#0d9488"
    figure = step_chart(panels, colors, marks=_marks(record), markers=False)
    return page.chart(figure, "Curves of the losses and of the learning rate")


def _marks(record: RunRecord) -> list[int]:
    return [begin for _, begin in record.phases if begin > 0]


def _rounds(record: RunRecord, work_dir: Path, found: Mapping[int, Mapping[str, float]]) -> str:
    means = {
        name: {step: metrics[name] for step, metrics in found.items() if name in metrics}
        for name in _means(found)
    }
    begins = {f"round {number}": number for number in coverage_per_round(work_dir)}
    steps = {begins[name]: begin for name, begin in record.phases if name in begins}
    panels: dict[str, dict[str, dict[int, float]]] = {}
    if means:
        panels["validation, in %"] = means
    coverage = coverage_per_round(work_dir)
    if coverage:
        panels["target pixels with a label, in %"] = {
            "labeled": {
                steps[number]: value for number, value in coverage.items() if number in steps
            }
        }
    if not panels:
        return ""
    colors = dict(zip(means, _COLORS[2:], strict=False)) | {"labeled": "#0d9488"}
    chart = page.chart(step_chart(panels, colors, marks=_marks(record)), "Curves over the run")
    scores = scores_per_round(work_dir)
    if not scores:
        return chart
    names = list(dict.fromkeys(name for values in scores.values() for name in values))
    rows = [
        page.row(
            name.replace("_", " "),
            [f"{values[name]:.3f}" if name in values else "-" for values in scores.values()],
        )
        for name in names
    ]
    header = ["scores without labels", *(f"round {number}" for number in scores)]
    return chart + page.table(header, rows)


def _means(found: Mapping[int, Mapping[str, float]]) -> list[str]:
    """Names of the mean IoUs, the one over all classes first; one over a subset only where it differs."""
    names = dict.fromkeys(
        name
        for metrics in found.values()
        for name in metrics
        if name.startswith("mIoU") and name.removeprefix("mIoU").isdigit() | (name == "mIoU")
    )
    rest = [
        name
        for name in names
        if name != "mIoU"
        and any(metrics.get(name) != metrics.get("mIoU") for metrics in found.values())
    ]
    return [*(["mIoU"] if "mIoU" in names else []), *rest]


def _mean_title(name: str, metrics: Mapping[str, float]) -> str:
    """A name that tells the mean over the classes with a figure from that over a subset, whatever their numbers."""
    if name == "mIoU":
        count = sum(key.startswith(_IOU) for key in metrics)
        return f"mIoU, {count} classes"
    return f"{name}, SYNTHIA's {name.removeprefix('mIoU')} classes"


def _means_text(found: Mapping[int, Mapping[str, float]]) -> str:
    if not found:
        return ""
    last = found[max(found)]
    titles = [_mean_title(name, last) for name in _means(found)]
    return "Means: " + "; ".join(titles) + "." if len(titles) > 1 else ""


def _class_bars(record: RunRecord, found: Mapping[int, Mapping[str, float]]) -> str:
    steps = _first_and_latest(sorted(found))
    series = {
        _at(record, step): {
            name: found[step][f"{_IOU}{name}"]
            for name in record.classes
            if f"{_IOU}{name}" in found[step]
        }
        for step in steps
    }
    classes = [name for name in record.classes if any(name in values for values in series.values())]
    return _bars(classes, series, "IoU in %", "Bars of the IoU per class")


def _kept(record: RunRecord, work_dir: Path) -> str:
    kept = kept_share_per_round(work_dir)
    numbers = _first_and_latest(sorted(kept))
    series = {f"Round {number}": kept[number] for number in numbers}
    classes = [
        name
        for name in record.classes
        if any(values.get(name, 0) > 0 for values in series.values())
    ]
    label = "labeled share of the pixels predicted as the class, in %"
    return _bars(classes, series, label, "Bars of the labeled share per class")


def _bars(
    classes: Sequence[str], series: Mapping[str, Mapping[str, float]], label: str, alt: str
) -> str:
    if not classes:
        return ""
    colors = dict(zip(series, _COLORS, strict=False))
    return page.chart(bar_chart(classes, series, colors, label=label), alt)


def _image_rows(record: RunRecord, snapshots: Sequence[Snapshot], fixed: Sequence[str]) -> str:
    """One grid per image: what never changes to the left, a column per snapshot, a line per kind of picture."""
    chosen = _first_and_latest(snapshots)
    if not chosen:
        return ""
    parts = []
    for name, cells in chosen[-1].rows.items():
        still = [cell for cell in cells if cell.title in fixed]
        kinds = dict.fromkeys(
            cell.title
            for snapshot in chosen
            for cell in snapshot.rows.get(name, ())
            if cell.title not in fixed
        )
        titles = [_at(record, snapshot.step) for snapshot in chosen]
        # The name of a file stays as it is.
        grid = [f"<strong>{escape(name)}</strong>", *page.headings(titles)]
        for line, kind in enumerate(kinds):
            grid.append(page.cell(still[line]) if line < len(still) else "<span></span>")
            for snapshot in chosen:
                found = [cell for cell in snapshot.rows.get(name, ()) if cell.title == kind]
                grid.append(page.cell(found[0]) if found else "<span></span>")
        for cell in still[len(kinds) :]:
            grid += [page.cell(cell), *["<span></span>"] * len(chosen)]
        parts.append(page.grid(grid, 1 + len(chosen)))
    return "".join(parts)


def _batches(record: RunRecord, snapshots: Sequence[Snapshot]) -> str:
    parts = []
    for snapshot in _first_and_latest(snapshots):
        phase = [name for name, begin in record.phases if begin < snapshot.step]
        title = f"Step {snapshot.step}" + (f", {phase[-1]}" if phase else "")
        for cells in snapshot.rows.values():
            drawn = "".join(page.cell(cell) for cell in cells)
            parts.append(f"<h3>{escape(title)}</h3>" + page.grid([drawn], len(cells)))
    return "".join(parts)


def _config(path: Path) -> str:
    if not path.is_file():
        return ""
    text = escape(path.read_text(encoding="utf-8"))
    return f"<details><summary>{escape(path.name)}</summary><pre>{text}</pre></details>"


def _first_and_latest(items: Sequence[Any]) -> list[Any]:
    """All of a few items, else the first and the latest ones."""
    return list(items) if len(items) <= _SHOWN else [items[0], *items[1 - _SHOWN :]]
