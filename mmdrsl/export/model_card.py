"""The page beside an exported segmentor: what it is, its classes, data, figures and files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from mmdrsl.atomic_files import file_hash
from mmdrsl.visualization.run_records import evaluations


@dataclass(frozen=True, kw_only=True)
class ExportedSegmentor:
    """What a card tells of.

    Attributes:
        cfg: Config of the training.
        checkpoint: Its checkpoint.
        meta: What the checkpoint notes beside the weights.
        teacher: Whether the averaged copy was exported.
        evaluated: Whether it is the network that the training evaluates.
        classes: Names of the classes.
        palette: RGB color (0..255) per class.
        files: What was written, each with a sentence on it.
        version: Of this library.
    """

    cfg: Config
    checkpoint: Path
    meta: Mapping[str, Any]
    teacher: bool
    evaluated: bool
    classes: Sequence[str]
    palette: Sequence[Sequence[int]]
    files: Mapping[Path, str]
    version: str


def model_card(exported: ExportedSegmentor) -> str:
    """Write the card.

    Args:
        exported: What it tells of.

    Returns:
        Markdown.
    """
    metrics = _metrics(exported)
    blocks = [
        f"# {Path(exported.cfg.filename or 'segmentor').stem}",
        "Semantic segmentation, adapted from labeled source images to unlabeled target images by mmdrsl "
        f"{exported.version} on MMSegmentation.",
        _table(["", ""], _facts(exported)),
        "## Use",
        "```python\nfrom mmseg.apis import inference_model, init_model\n\n"
        'model = init_model("config.py", "segmentor.pth", device="cpu")\n'
        'labels = inference_model(model, "image.png").pred_sem_seg.data[0]  # class indices, (H, W)\n```',
        "## Classes",
        _table(["index", "class", "color (RGB)", "IoU (%)"], _classes(exported, metrics)),
        "## Figures",
        _figures(metrics),
        "## Data",
        _table(["role", "dataset", "folder"], _data(exported.cfg)),
        "Licenses of data and pretrained weights are those of their publishers.",
        "## Files",
        _table(
            ["file", "what", "SHA-256"],
            [(path.name, what, file_hash(path)) for path, what in exported.files.items()],
        ),
    ]
    return "\n\n".join(blocks) + "\n"


def _facts(exported: ExportedSegmentor) -> list[tuple[str, str]]:
    segmentor = exported.cfg.model.segmentor
    head = segmentor.decode_head
    heads = [one["type"] for one in (head if isinstance(head, list | tuple) else [head])]
    terms = exported.cfg.model.get("terms") or {}
    return [
        ("network", ", ".join([segmentor.type, segmentor.backbone.type, *heads])),
        (
            "terms of the training",
            ", ".join(f"{name} ({term.type})" for name, term in terms.items() if term),
        ),
        ("weights", "averaged copy (teacher)" if exported.teacher else "trained network (student)"),
        ("training step", str(exported.meta.get("iter", "not noted in the checkpoint"))),
        ("seed", str(exported.meta.get("seed", "not noted in the checkpoint"))),
        ("checkpoint", f"{exported.checkpoint.name}, SHA-256 {file_hash(exported.checkpoint)}"),
        ("PyTorch of the export", torch.__version__),
    ]


def _metrics(exported: ExportedSegmentor) -> dict[str, float]:
    """What the run noted for the step of the checkpoint; empty where that was another network or nothing."""
    if not exported.evaluated:
        return {}
    found = evaluations(exported.checkpoint.parent)
    return found.get(int(exported.meta.get("iter", -1)), {})


def _classes(exported: ExportedSegmentor, metrics: Mapping[str, float]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for index, (name, color) in enumerate(zip(exported.classes, exported.palette, strict=True)):
        value = metrics.get(f"IoU.{name}")
        shown = "-" if value is None else f"{value:.1f}"
        rows.append((str(index), name, ", ".join(map(str, color)), shown))
    return rows


def _figures(metrics: Mapping[str, float]) -> str:
    shown = [
        (name, f"{value:.2f}")
        for name, value in metrics.items()
        if re.search(r"(mIoU|mAcc|aAcc)\d*$", name)
    ]
    if not shown:
        return "The folder of the checkpoint has no evaluation of this network at this step."
    return "On the validation set of the training, in percent.\n\n" + _table(["", "%"], shown)


def _data(cfg: Config) -> list[tuple[str, str, str]]:
    rows = []
    # None where a run trains or tests nothing.
    training = (cfg.get("train_dataloader") or {}).get("dataset", {})
    for role in ("source", "target"):
        rows += [(role, *entry) for entry in _datasets(training.get(role, {}))]
    if not rows:
        rows += [("training", *entry) for entry in _datasets(training)]
    tested = (cfg.get("test_dataloader") or {}).get("dataset", {})
    return rows + [("test", *entry) for entry in _datasets(tested)]


def _datasets(config: Any) -> Iterator[tuple[str, str]]:
    """Type and folder of every dataset that names a folder."""
    if isinstance(config, Mapping):
        if "type" in config and "data_root" in config:
            yield str(config["type"]), str(config["data_root"])
            return
        config = config.values()
    elif not isinstance(config, list | tuple):
        return
    for value in config:
        yield from _datasets(value)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )
