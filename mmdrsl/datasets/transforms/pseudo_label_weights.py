"""Weights of pseudo labels: loading them beside the labels, and packing them for the terms."""

from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform, to_tensor
from mmengine.structures import PixelData
from mmseg.datasets.transforms import PackSegInputs
from mmseg.registry import TRANSFORMS

from .loading import read_raw_ids

WEIGHT_KEY = "gt_weight_map"


@TRANSFORMS.register_module()
class LoadPseudoLabelWeights(BaseTransform):
    """Load the confidence that a labelling round stored beside its labels; 1 while there are none.

    Stands directly after `LoadPseudoLabels`. Required keys: `pseudo_label_path`, `sample_id`, `gt_seg_map` and
    `seg_fields`. Added key: `gt_weight_map` (uint8, shape (H, W), 0..255 for 0..1), which geometric transforms treat
    like the labels.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Load the weights.

        Args:
            results: Pipeline dictionary.

        Returns:
            The dictionary with `gt_weight_map`, named in `seg_fields`.

        Raises:
            FileNotFoundError: If the file is missing.
            ValueError: If it is no 8-bit PNG of one channel or has another size than the label.
        """
        label = results["gt_seg_map"]
        if results["pseudo_label_path"] is None:
            weights = np.full(label.shape, 255, dtype=np.uint8)
        else:
            name = Path(f"{results['sample_id']}.png")
            root = Path(results["pseudo_label_path"]).parents[len(name.parts)]
            weights = read_raw_ids(str(root / "confidence" / name))
            if weights.shape != label.shape:
                raise ValueError(
                    f"the confidence {root / 'confidence' / name} is {weights.shape[1]}x{weights.shape[0]} but its "
                    f"label is {label.shape[1]}x{label.shape[0]} (width x height): label again"
                )
        results[WEIGHT_KEY] = weights
        results["seg_fields"].append(WEIGHT_KEY)
        return results


@TRANSFORMS.register_module()
class PackWeightedSegInputs(PackSegInputs):
    """MMSegmentation's packing, with `gt_weight_map` in [0, 1] in the data sample where the pipeline loaded one.

    Takes the arguments of `PackSegInputs`.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Pack.

        Args:
            results: Pipeline dictionary.

        Returns:
            ``inputs`` and ``data_samples``.
        """
        packed = super().transform(results)
        if WEIGHT_KEY in results:
            weights = to_tensor(np.ascontiguousarray(results[WEIGHT_KEY][None])).float() / 255
            packed["data_samples"].set_data({WEIGHT_KEY: PixelData(data=weights)})
        return packed
