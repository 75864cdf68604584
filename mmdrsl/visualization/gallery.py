"""Collects a report's pictures and curves from the folders of the three runs."""

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

from mmdrsl.visualization.mode_maps import load_model, mode_head, predict_classes, predict_modes
from mmdrsl.visualization.report import ModePair, PseudoLabelSeries, Report, ValidationImage
from mmdrsl.visualization.run_records import coverage_per_round, metrics_per_round

NUM_VALIDATION_IMAGES = 5
NUM_PSEUDO_LABEL_IMAGES = 3
NUM_MODE_PAIRS = 4
_MODE_METHOD = "drsl"
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
    setting: str,
    warmup_miou: float | None = None,
) -> Report:
    """Predict with the final weights and read the records of the runs.

    Args:
        runs: By method: ``source_only``, ``self_training`` and ``drsl``.
        summary: ``seed``, ``minutes``, and by method ``mIoU``, ``aAcc`` and ``IoU`` in percent.
        setting: Sentences on what was run.
        warmup_miou: mIoU in percent after the warm-up that self-training shares with source-only
            training; None where it was not measured.

    Returns:
        What the page shows.

    Raises:
        FileNotFoundError: A run has no checkpoint or lacks its pseudo labels.
    """
    cfg = runs[_MODE_METHOD].cfg
    init_default_scope(cfg.default_scope)
    validation = DATASETS.build(cfg.val_dataloader.dataset)
    source_cfg = dict(cfg.train_dataloader.dataset.source)
    source = DATASETS.build({**source_cfg, "pipeline": cfg.val_dataloader.dataset.pipeline})
    models = {name: load_model(run.cfg, run.checkpoint) for name, run in runs.items()}
    mode_model = models[_MODE_METHOD]
    adapted = [name for name, run in runs.items() if (run.folder / "rounds.json").is_file()]
    miou = {name: metrics_per_round(runs[name].folder, "mIoU") for name in adapted}
    if warmup_miou is not None and "self_training" in miou:
        miou["self_training"].setdefault(0, warmup_miou)
    return Report(
        summary=summary,
        setting=setting,
        classes=validation.metainfo["classes"],
        palette=validation.metainfo["palette"],
        validation=[
            _validation_image(validation[index], models)
            for index in _spread(len(validation), NUM_VALIDATION_IMAGES)
        ],
        pseudo_labels=_pseudo_labels(cfg, {name: runs[name].folder for name in adapted}),
        mode_pairs=[
            _mode_pair({"game": source[game], "camera": validation[camera]}, mode_model)
            for game, camera in zip(
                _spread(len(source), NUM_MODE_PAIRS),
                _spread(len(validation), NUM_MODE_PAIRS),
                strict=False,
            )
        ],
        num_modes=mode_head(mode_model, _MODE_HEAD).num_modes,
        miou=miou,
        coverage={name: coverage_per_round(runs[name].folder) for name in adapted},
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
        predictions={name: predict_classes(model, packed) for name, model in models.items()},
    )


def _mode_pair(packed: Mapping[str, dict], model: Any) -> ModePair:
    maps = {look: predict_modes(model, item, head=_MODE_HEAD) for look, item in packed.items()}
    return ModePair(
        images={look: _image(item) for look, item in packed.items()},
        classes={look: classes for look, (classes, _) in maps.items()},
        modes={look: modes for look, (_, modes) in maps.items()},
    )


def _pseudo_labels(cfg: Config, folders: Mapping[str, Path]) -> list[PseudoLabelSeries]:
    target = DATASETS.build({**cfg.train_dataloader.dataset.target, "pipeline": []})
    samples = [
        target.get_data_info(index) for index in _spread(len(target), NUM_PSEUDO_LABEL_IMAGES)
    ]
    return [
        _series(method, folder, sample) for sample in samples for method, folder in folders.items()
    ]


def _series(method: str, folder: Path, sample: Mapping[str, Any]) -> PseudoLabelSeries:
    rounds: Sequence[int] = sorted(coverage_per_round(folder))
    roots = {number: folder / "pseudo_labels" / f"round_{number}" for number in rounds}
    file_name = f"{sample['sample_id']}.png"
    return PseudoLabelSeries(
        method=method,
        image=cv2.cvtColor(_read(Path(sample["img_path"]), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB),
        labels={
            number: _read(root / "labels" / file_name, cv2.IMREAD_GRAYSCALE)
            for number, root in roots.items()
        },
        confidence=_read(roots[rounds[-1]] / "confidence" / file_name, cv2.IMREAD_GRAYSCALE),
    )


def _read(path: Path, mode: int) -> np.ndarray:
    image = cv2.imread(str(path), mode)
    if image is None:
        raise FileNotFoundError(
            f"{path} cannot be read as an image: delete the run's folder and train it again."
        )
    return image
