"""Collects a report's pictures and curves from the folders of runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS

from mmdrsl.visualization.mode_maps import (
    load_model,
    mode_head,
    predict_classes,
    predict_modes,
    source_statistics,
)
from mmdrsl.visualization.report import ModePair, PseudoLabelSeries, Report, ValidationImage
from mmdrsl.visualization.run_records import coverage_per_round, metrics_per_round

NUM_VALIDATION_IMAGES = 5
NUM_PSEUDO_LABEL_IMAGES = 3
NUM_MODE_PAIRS = 4
_MODE_HEAD = "mmdl"


@dataclass(frozen=True, kw_only=True)
class FinishedRun:
    """A run whose training has ended.

    Attributes:
        cfg: Its config.
        folder: Its work folder.
        checkpoint: Its final checkpoint.
    """

    cfg: Config
    folder: Path
    checkpoint: Path


def collect_report(
    runs: Mapping[str, FinishedRun],
    summary: Mapping[str, Any],
    *,
    titles: Mapping[str, str],
    setting: str,
    facts: Sequence[tuple[str, str]] = (),
) -> Report:
    """Predict with the final weights and read the records of the runs.

    Args:
        runs: By method, at least one. A method without a run has its numbers in the report, and no pictures and
            curves. Mode maps are those of the first run that learns modes.
        summary: ``seed``, ``minutes``, and by method ``mIoU``, ``aAcc`` and ``IoU`` in percent.
        titles: Title by method, in the order of the columns.
        setting: Sentences on what was run.
        facts: Names and texts: command, versions.

    Returns:
        What the page shows.

    Raises:
        FileNotFoundError: A run has no checkpoint or lacks its pseudo labels.
        ValueError: There is no run, a run has no title, or a title has no numbers.
    """
    if not runs or not set(runs) <= set(titles) <= set(summary):
        raise ValueError(
            "A report needs at least one run, a title for every run and numbers for every title; found runs of "
            f"{sorted(runs)}, titles of {sorted(titles)}, numbers of {sorted(summary)}."
        )
    runs = {method: runs[method] for method in titles if method in runs}
    cfg = next(iter(runs.values())).cfg
    init_default_scope(cfg.default_scope)
    validation = DATASETS.build(cfg.val_dataloader.dataset)
    models = {method: load_model(run.cfg, run.checkpoint) for method, run in runs.items()}
    # The first run with modes.
    modal = next((method for method, model in models.items() if _MODE_HEAD in model.heads), None)
    return Report(
        titles=titles,
        summary=summary,
        setting=setting,
        facts=facts,
        classes=validation.metainfo["classes"],
        palette=validation.metainfo["palette"],
        validation=[
            _validation_image(validation[index], models)
            for index in _spread(len(validation), NUM_VALIDATION_IMAGES)
        ],
        pseudo_labels=_pseudo_labels(runs),
        mode_pairs=_mode_pairs(runs[modal].cfg, validation, models[modal]) if modal else [],
        num_modes=mode_head(models[modal], _MODE_HEAD).num_modes if modal else 0,
        miou={method: metrics_per_round(run.folder, "mIoU") for method, run in runs.items()},
        coverage={method: coverage_per_round(run.folder) for method, run in runs.items()},
    )


def _spread(length: int, count: int) -> list[int]:
    """Up to `count` indices at even steps."""
    return sorted({int(index) for index in np.linspace(0, length - 1, min(count, length))})


def _image(packed: Mapping[str, Any]) -> np.ndarray:
    """Packed BGR tensor (3, H, W) as RGB array (H, W, 3)."""
    return packed["inputs"].numpy().transpose(1, 2, 0)[..., ::-1].copy()


def _validation_image(packed: dict, models: Mapping[str, Any]) -> ValidationImage:
    return ValidationImage(
        image=_image(packed),
        truth=packed["data_samples"].gt_sem_seg.data[0].numpy().astype(np.uint8),
        predictions={method: predict_classes(model, packed) for method, model in models.items()},
    )


def _mode_pairs(cfg: Config, validation: Any, model: Any) -> list[ModePair]:
    """Modes of source images, loaded as validation images are, beside those of validation images."""
    source_cfg = cfg.train_dataloader.dataset.source
    source = DATASETS.build({**source_cfg, "pipeline": cfg.val_dataloader.dataset.pipeline})
    looks = {"game": source, "camera": validation}
    packed = {
        look: [dataset[index] for index in _spread(len(dataset), NUM_MODE_PAIRS)]
        for look, dataset in looks.items()
    }
    with source_statistics(model, packed["game"]):
        maps = {"game": [predict_modes(model, item, head=_MODE_HEAD) for item in packed["game"]]}
    maps["camera"] = [predict_modes(model, item, head=_MODE_HEAD) for item in packed["camera"]]
    return [
        ModePair(
            images={look: _image(packed[look][row]) for look in looks},
            classes={look: maps[look][row][0] for look in looks},
            modes={look: maps[look][row][1] for look in looks},
        )
        for row in range(min(map(len, packed.values())))
    ]


def _pseudo_labels(runs: Mapping[str, FinishedRun]) -> list[PseudoLabelSeries]:
    """The same target images, image by image, for every run that has labeled its target."""
    labeling = {method: run for method, run in runs.items() if coverage_per_round(run.folder)}
    if not labeling:
        return []
    target_cfg = next(iter(labeling.values())).cfg.train_dataloader.dataset.target
    target = DATASETS.build({**target_cfg, "pipeline": []})
    return [
        _series(method, run.folder, target.get_data_info(index))
        for index in _spread(len(target), NUM_PSEUDO_LABEL_IMAGES)
        for method, run in labeling.items()
    ]


def _series(method: str, folder: Path, sample: Mapping[str, Any]) -> PseudoLabelSeries:
    file_name = f"{sample['sample_id']}.png"
    rounds = {
        number: folder / "pseudo_labels" / f"round_{number}"
        for number in sorted(coverage_per_round(folder))
    }
    return PseudoLabelSeries(
        method=method,
        image=cv2.cvtColor(_read(Path(sample["img_path"]), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB),
        labels={
            number: _read(root / "labels" / file_name, cv2.IMREAD_GRAYSCALE)
            for number, root in rounds.items()
        },
        confidence=_read(rounds[max(rounds)] / "confidence" / file_name, cv2.IMREAD_GRAYSCALE),
    )


def _read(path: Path, mode: int) -> np.ndarray:
    image = cv2.imread(str(path), mode)
    if image is None:
        raise FileNotFoundError(
            f"{path} cannot be read as an image: delete the run's folder and train it again."
        )
    return image
