"""Pictures of a run that trains: its batch, and what the model says of some target and validation images."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmcv.transforms import Compose
from torch import Tensor, nn

from mmdrsl.datasets.label_spaces import IGNORE_INDEX
from mmdrsl.datasets.two_domain import seeded
from mmdrsl.engine.bn_statistics import evenly_spaced
from mmdrsl.mmengine_private import colors_of
from mmdrsl.visualization.colors import Palette, color_confidence, color_labels
from mmdrsl.visualization.mode_maps import predict_classes
from mmdrsl.visualization.snapshots import Cell

NUM_IMAGES = 3

Rows = list[tuple[str, list[Cell]]]


@contextmanager
def looking(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients inside the block; the run then goes on as if nobody had looked.

    Args:
        model: The mode of each of its modules is restored, and the random states are.
    """
    modes = {module: module.training for module in model.modules()}
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with seeded(0), torch.random.fork_rng(devices=devices), torch.no_grad():
        model.eval()
        try:
            yield
        finally:
            for module, mode in modes.items():
                module.training = mode


def batch_row(
    batch: Mapping[str, Any], shown: Mapping[str, Tensor], *, preprocessor: Any, palette: Palette
) -> list[Cell]:
    """The first image of each domain in a training batch, and what the terms made of them.

    Args:
        batch: Collated batch before normalization: ``inputs``, BGR images (3, H, W), and ``data_samples``.
        shown: What `AdaptationStep.show` kept.
        preprocessor: The model's, whose normalization is undone.
        palette: One RGB color (0..255) per class.

    Returns:
        The cells.
    """
    cells = []
    for domain, kind in (("source", "label"), ("target", "pseudo label")):
        for image, sample in zip(batch["inputs"], batch["data_samples"], strict=True):
            if sample.metainfo.get("domain", "source") != domain:
                continue
            rgb = image.cpu().numpy().transpose(1, 2, 0)[..., ::-1]
            cells.append(Cell(title=f"{domain} image", image=rgb, is_photo=True))
            if "gt_sem_seg" in sample:
                labels = sample.gt_sem_seg.data[0].cpu().numpy().astype(np.uint8)
                # Where nothing labels the target beforehand, all of it is ignored.
                if domain == "source" or (labels != IGNORE_INDEX).any():
                    cells.append(_label_cell(f"{domain} {kind}", labels, palette))
            break
    return [
        *cells,
        *(_shown_cell(title, kept[0], preprocessor, palette) for title, kept in shown.items()),
    ]


def target_rows(
    target: Any,
    model: nn.Module,
    *,
    palette: Palette,
    pipeline: Sequence[dict],
    labels: Path | None,
) -> Rows:
    """Some target images with their pseudo labels and what the model predicts.

    Args:
        target: An `UnlabelledDataset`; its own pipeline is not used.
        model: The model, see `looking`.
        palette: One RGB color (0..255) per class.
        pipeline: Transforms that load a target image, without random ones.
        labels: Folder of the round's labels; None where there are none.

    Returns:
        A row per image.
    """
    load = Compose(list(pipeline))
    rows = []
    for index in evenly_spaced(len(target), NUM_IMAGES):
        info = target.get_data_info(int(index))
        packed = load(copy.deepcopy(info))
        name = info["sample_id"]
        cells = [Cell(title="target image", image=_image(packed), is_photo=True)]
        if labels is not None:
            pseudo = _read(labels / "labels" / f"{name}.png")
            confidence = _read(labels / "confidence" / f"{name}.png")
            cells.append(_label_cell("pseudo label", pseudo, palette))
            cells.append(Cell(title="confidence", image=color_confidence(confidence)))
        prediction = color_labels(predict_classes(model, packed), palette)
        rows.append((name, [*cells, Cell(title="prediction", image=prediction)]))
    return rows


def validation_rows(validation: Any, model: nn.Module, *, palette: Palette) -> Rows:
    """Some validation images with their labels and what the model predicts.

    Args:
        validation: A labeled dataset in test mode.
        model: The model, see `looking`.
        palette: One RGB color (0..255) per class.

    Returns:
        A row per image.
    """
    paths: list[Path] = []
    cells_of: list[list[Cell]] = []
    for index in evenly_spaced(len(validation), NUM_IMAGES):
        packed = validation[int(index)]
        sample = packed["data_samples"]
        truth = sample.gt_sem_seg.data[0].numpy().astype(np.uint8)
        prediction = predict_classes(model, packed)
        caption = ""
        counted = truth != IGNORE_INDEX
        if counted.any() and truth.shape == prediction.shape:
            caption = f"{100 * (prediction == truth)[counted].mean():.1f} % of pixels right"
        cells = [
            Cell(title="validation image", image=_image(packed), is_photo=True),
            Cell(title="label", image=color_labels(truth, palette)),
            Cell(title="prediction", image=color_labels(prediction, palette), caption=caption),
        ]
        paths.append(Path(sample.img_path))
        cells_of.append(cells)
    return list(zip(_distinct_names(paths), cells_of, strict=True))


def _distinct_names(paths: Sequence[Path]) -> list[str]:
    """Names of files without their ending, with their folders where two have one name."""
    stems = [path.stem for path in paths]
    if len(set(stems)) == len(stems):
        return stems
    root = os.path.commonpath([path.parent for path in paths])
    return [path.relative_to(root).with_suffix("").as_posix() for path in paths]


def _image(packed: Mapping[str, Any]) -> np.ndarray:
    return packed["inputs"].numpy().transpose(1, 2, 0)[..., ::-1]


def _label_cell(title: str, labels: np.ndarray, palette: Palette) -> Cell:
    share = float((labels != IGNORE_INDEX).mean())
    return Cell(
        title=title, image=color_labels(labels, palette), caption=f"{100 * share:.0f} % labeled"
    )


def _shown_cell(title: str, content: Tensor, preprocessor: Any, palette: Palette) -> Cell:
    if content.dim() == 3:
        rgb = colors_of(preprocessor, content).cpu().numpy().transpose(1, 2, 0)
        return Cell(title=title, image=rgb, is_photo=True)
    if content.is_floating_point():
        confidence = (255 * content.clamp(0, 1)).round().byte()
        return Cell(title=title, image=color_confidence(confidence.cpu().numpy()))
    return _label_cell(title, content.cpu().numpy().astype(np.uint8), palette)


def _read(path: Path) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise FileNotFoundError(f"{path} cannot be read as an image.")
    return image
