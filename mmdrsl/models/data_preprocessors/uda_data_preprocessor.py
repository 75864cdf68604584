"""Brings the source images of a two-domain batch to the front."""

from __future__ import annotations

from typing import Any

from mmseg.models.data_preprocessor import SegDataPreProcessor
from mmseg.registry import MODELS


@MODELS.register_module()
class UDADataPreprocessor(SegDataPreProcessor):
    """MMSegmentation's preprocessor for batches that mix domains.

    A collated training batch ``{'inputs': [B images], 'data_samples': [B samples]}`` holds samples tagged with
    ``domain`` in any order; the result is ordered source first, then target, and otherwise the same as the parent's.
    Takes the arguments of `SegDataPreProcessor`.
    """

    def forward(self, data: dict, training: bool = False) -> dict[str, Any]:
        """Order, normalize, pad and stack a batch.

        Args:
            data: Collated batch with ``inputs`` and ``data_samples``.
            training: Whether the batch is one of training.

        Returns:
            ``inputs`` of shape (B, 3, H, W) and ``data_samples``, source first.
        """
        if training:
            order = sorted(
                range(len(data["inputs"])),
                key=lambda index: data["data_samples"][index].metainfo.get("domain", "source"),
            )
            data = {key: [values[index] for index in order] for key, values in data.items()}
        return super().forward(data, training)
