"""A stock decode head with a multi-modal distribution head beside it, for ordinary supervised training."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor

from mmdrsl.models.feature_maps import with_decoder_map
from mmdrsl.models.label_maps import resize_labels, stack_labels


@MODELS.register_module()
class DRSLHead(BaseModule):
    """Mode learning as a regularizer of any segmentor, usable as ``decode_head`` of a plain ``EncoderDecoder``.

    Training adds the mode metric loss to the losses of the wrapped head; prediction is the wrapped head's alone.

    Args:
        decode_head: Config of any MMSegmentation decode head.
        mmdl_head: Config of `MMDLHead`.
        metric_loss: Config of `ModeMetricLoss`.
        metric_weight: Factor of the mode metric loss, >= 0.
        init_cfg: MMEngine weight initialization.

    Raises:
        ValueError: The two heads disagree about the number of classes.
    """

    def __init__(
        self,
        *,
        decode_head: dict,
        mmdl_head: dict,
        metric_loss: dict | None = None,
        metric_weight: float = 0.1,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.decode_head = MODELS.build(decode_head)
        self.mmdl_head = MODELS.build(mmdl_head)
        self.metric_loss = MODELS.build(metric_loss or dict(type="ModeMetricLoss"))
        self.metric_weight = metric_weight
        if self.mmdl_head.num_classes != self.decode_head.num_classes:
            raise ValueError(
                f"decode_head has num_classes={self.decode_head.num_classes} and mmdl_head "
                f"num_classes={self.mmdl_head.num_classes}; set both to the number of classes of the data."
            )
        # The attributes that EncoderDecoder reads from its decode head.
        self.align_corners = self.decode_head.align_corners
        self.num_classes = self.decode_head.num_classes
        self.out_channels = self.decode_head.out_channels
        self.threshold = self.decode_head.threshold
        self.ignore_index = self.decode_head.ignore_index

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return the logits of the wrapped head, shape (B, C, h, w)."""
        return self.decode_head(inputs)

    def loss(self, inputs: Sequence[Tensor], batch_data_samples: list, train_cfg: dict) -> dict:
        """Losses of the wrapped head and ``loss_mode_metric``.

        Args:
            inputs: Feature maps of the backbone or neck.
            batch_data_samples: Samples with ``gt_sem_seg``.
            train_cfg: MMSegmentation's training config, handed to the wrapped head.

        Returns:
            Named losses and diagnostics.
        """
        with with_decoder_map(self.decode_head, inputs) as maps:
            losses = self.decode_head.loss(inputs, batch_data_samples, train_cfg)
        embeddings = self.mmdl_head(maps)
        labels = stack_labels(batch_data_samples)
        losses["loss_mode_metric"] = self.metric_weight * self.metric_loss(
            embeddings,
            resize_labels(labels, embeddings.shape[2:]),
            self.mmdl_head.modes(),
            self.mmdl_head.bandwidth,
        )
        return losses

    def predict(
        self, inputs: Sequence[Tensor], batch_img_metas: list[dict], test_cfg: dict
    ) -> Tensor:
        """Return the wrapped head's prediction, logits of shape (B, C, H, W)."""
        return self.decode_head.predict(inputs, batch_img_metas, test_cfg)
