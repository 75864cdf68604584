"""Confidence of pseudo labels, on its way into the batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.structures import PixelData
from mmseg.datasets.transforms import PackSegInputs
from mmseg.registry import TRANSFORMS

from .loading import LoadPseudoLabels, read_raw_ids


@TRANSFORMS.register_module()
class LoadPseudoLabelConfidence(LoadPseudoLabels):
    """Load the confidence of the round's labels beside the labels, as a map that geometric transforms move along.

    Stands after `LoadPseudoLabels`. Without labels every confidence is 0.

    Required keys: those of `LoadPseudoLabels`. Added key: `gt_confidence_map` (uint8, shape (H, W), 0..255), named in
    `seg_fields`.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Load the confidence.

        Args:
            results: Pipeline dictionary.

        Returns:
            The dictionary with `gt_confidence_map`.

        Raises:
            FileNotFoundError: The artefact has no confidence of this image.
            ValueError: It cannot be read, or has another size than the labels.
        """
        path = results["pseudo_label_path"]
        labels = results["gt_seg_map"]
        confidence = np.zeros_like(labels)
        if path is not None:
            root = Path(path).parents[len(Path(results["sample_id"]).parts)]
            file = root / "confidence" / f"{results['sample_id']}.png"
            confidence = read_raw_ids(str(file)).astype(np.uint8)
            if confidence.shape != labels.shape:
                raise ValueError(
                    f"The confidence {file} has shape {confidence.shape}, its labels {labels.shape}; the transform "
                    "stands directly after LoadPseudoLabels, and both are of one round."
                )
        results["gt_confidence_map"] = confidence
        results["seg_fields"].append("gt_confidence_map")
        return results


@TRANSFORMS.register_module()
class PackTargetInputs(PackSegInputs):
    """MMSegmentation's packing, with the confidence of the pseudo labels as ``gt_confidence``.

    Takes the arguments of `PackSegInputs`.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Pack.

        Args:
            results: Pipeline dictionary with `gt_confidence_map`.

        Returns:
            ``inputs`` and ``data_samples``, the latter with ``gt_confidence`` of shape (1, H, W).
        """
        packed = super().transform(results)
        values = torch.from_numpy(np.ascontiguousarray(results["gt_confidence_map"]))
        packed["data_samples"].set_data(dict(gt_confidence=PixelData(data=values[None])))
        return packed
