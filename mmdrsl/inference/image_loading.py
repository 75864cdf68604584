"""The images of a test pipeline without its labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.config import Config
from mmengine.dataset import Compose
from mmseg.registry import TRANSFORMS
from torch import Tensor

_OF_LABELS = ("LoadLabels", "LoadPseudoLabels", "LoadAnnotations")
_STOCK_LOADER, _STOCK_KEYS = "LoadImageFromFile", {"type", "backend_args"}


@dataclass(frozen=True)
class LoadedImage:
    """An image on its way into the network.

    Attributes:
        key: What the caller knows it by.
        image: Blue, green, red at the size of the file, shape (H, W, 3), uint8.
        views: Packed tensor (3, h, w) and data sample of every view; one view without test-time augmentation.
    """

    key: Any
    image: np.ndarray
    views: list[tuple[Tensor, Any]]

    @property
    def sizes(self) -> list[Any]:
        """Sizes before and after the pipeline; images of equal sizes make a batch."""
        return [self.image.shape, *(tensor.shape for tensor, _ in self.views)]


class ImageLoader:
    """Loads images as the test of a config does.

    A plain ``LoadImageFromFile``, as exported configs have it, gives way to `LoadImage`, which gives the same pixels
    and refuses what is no photograph.

    Args:
        pipeline: The test's transforms: one that loads an image, others, ``PackSegInputs`` or ``TestTimeAug`` last.

    Raises:
        ValueError: The first transform loads no image.
    """

    def __init__(self, pipeline: Sequence[dict]) -> None:
        first, *rest = pipeline or [{"type": "nothing"}]
        if not str(first["type"]).startswith("LoadImage"):
            raise ValueError(
                f"The test pipeline begins with {first['type']}, expected a transform that loads an image, such as "
                "LoadImage."
            )
        if first["type"] == _STOCK_LOADER and first.keys() <= _STOCK_KEYS:
            first = dict(type="LoadImage")
        self._read = TRANSFORMS.build(first)
        self._transform = Compose(without_labels(rest))

    def __call__(self, key: Any, source: Path | np.ndarray) -> LoadedImage:
        """Load an image; threads may do so at once.

        Args:
            key: What the caller knows it by.
            source: The file, or a frame: blue, green, red, shape (H, W, 3), uint8.

        Returns:
            The image and its views.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: It is no image.
        """
        results: dict[str, Any] = {"seg_fields": []}
        if isinstance(source, np.ndarray):
            size = source.shape[:2]
            results.update(img=source, img_shape=size, ori_shape=size)
        else:
            results = self._read_file({**results, "img_path": str(source)})
        image = results["img"]
        packed: Any = self._transform(results)
        inputs, samples = packed["inputs"], packed["data_samples"]
        several = isinstance(inputs, list)
        views = zip(inputs, samples, strict=True) if several else [(inputs, samples)]
        return LoadedImage(key, image, list(views))

    def _read_file(self, results: dict[str, Any]) -> Any:
        try:
            return self._read(results)
        except (AssertionError, cv2.error) as error:
            raise ValueError(
                f"cannot decode the image {results['img_path']} ({error}): it is empty, cut short, damaged or of an "
                "unknown format; restore it or leave it out"
            ) from error


def without_labels(transforms: Sequence[Any]) -> list[Any]:
    """Leave out what loads labels, inside of ``TestTimeAug`` too.

    Args:
        transforms: Configs of transforms, or lists of them.

    Returns:
        The rest.
    """
    kept: list[Any] = []
    for transform in transforms:
        if isinstance(transform, list | tuple):
            inner = without_labels(transform)
            # An empty list of alternatives would leave no view.
            kept += [inner] if inner else []
        elif "transforms" in transform:
            kept.append({**transform, "transforms": without_labels(transform["transforms"])})
        elif transform["type"] not in _OF_LABELS:
            kept.append(transform)
    return kept


def pipeline_of(cfg: Config, *, tta: bool) -> list[dict]:
    """Find the transforms of a config's test.

    Args:
        cfg: The config.
        tta: Take those of test-time augmentation.

    Returns:
        Configs of transforms.

    Raises:
        ValueError: The config has none.
    """
    # None where a run tests nothing.
    dataset = (cfg.get("test_dataloader") or {}).get("dataset", {})
    own = cfg.get("tta_pipeline") if tta else dataset.get("pipeline") or cfg.get("test_pipeline")
    if not own:
        wanted = "tta_pipeline" if tta else "test_dataloader.dataset.pipeline or test_pipeline"
        raise ValueError(f"The config has no {wanted}: add one, or give another config.")
    return list(own)
