"""Multi-modal distribution head: embeds pixels and owns the modes of every class."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmdrsl.methods.drsl import functional
from mmdrsl.models.feature_maps import choose_map


@MODELS.register_module()
class MMDLHead(BaseModule):
    """Pixel embedding and learnable mode representatives (layout after RepMet, Karlinsky et al. 2019).

    ``features -> 1x1 conv + norm + ReLU -> 1x1 conv -> unit length in float32``. Each class is a mixture of
    `num_modes` Gaussians on the unit sphere around its representatives. The head computes no loss.

    Args:
        in_channels: Channels of the chosen feature map; `UDASegmentor` fills it in where it is left out.
        num_classes: C, >= 1; `UDASegmentor` fills it in where it is left out.
        in_index: Which of the backbone's (or neck's) outputs to embed; ``decoder`` embeds what the decode head's
            classifier reads, so that everything below the classifier is shared.
        num_modes: K, modes per class, >= 1; 1 is the unimodal ablation.
        embedding_dim: D, >= 2.
        hidden_channels: Width between the two convolutions; None takes `in_channels`, at most 256.
        bandwidth: Standard deviation of every mode, > 0. With unit vectors and 19 classes of 3 modes, 0.3 lets the
            posterior of a perfect pixel reach 0.999; 0.5 would cap it at 0.50.
        norm_cfg: Normalization layer between the convolutions.
        init_cfg: MMEngine weight initialization.

    Raises:
        ValueError: An argument is outside its range.
    """

    class_frequency: Tensor

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        in_index: int | str = -1,
        num_modes: int = 3,
        embedding_dim: int = 64,
        hidden_channels: int | None = None,
        bandwidth: float = 0.3,
        norm_cfg: dict | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if num_classes < 1 or num_modes < 1 or embedding_dim < 2 or bandwidth <= 0:
            raise ValueError(
                "MMDLHead needs num_classes >= 1, num_modes >= 1, embedding_dim >= 2 and bandwidth > 0, found "
                f"{num_classes}, {num_modes}, {embedding_dim}, {bandwidth}."
            )
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.in_index = in_index
        self.num_modes = num_modes
        self.embedding_dim = embedding_dim
        self.bandwidth = bandwidth
        hidden_channels = hidden_channels or min(in_channels, 256)
        self.project = nn.Sequential(
            ConvModule(in_channels, hidden_channels, 1, norm_cfg=norm_cfg or dict(type="BN")),
            nn.Conv2d(hidden_channels, embedding_dim, 1),
        )
        # Class vector plus a smaller offset per mode: modes of one class start near each other (RepMet).
        class_vectors = torch.randn(num_classes, 1, embedding_dim) * 0.1
        offsets = torch.randn(num_classes, num_modes, embedding_dim) * 0.05
        self.representatives = nn.Parameter(functional.normalize(class_vectors + offsets))
        # Modes are learned from equally many pixels of every class; `ModeMaintenanceHook` counts how often each occurs.
        self.register_buffer("class_frequency", torch.full((num_classes,), 1 / num_classes))

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Embed the chosen feature map.

        Args:
            inputs: Feature maps of the backbone or neck; `FeatureMaps` where `in_index` is ``decoder``.

        Returns:
            Unit vectors, float32, shape (B, D, h, w) at the resolution of the feature map.

        Raises:
            ValueError: The feature map is missing, or has another number of channels than the head was built for.
        """
        features = choose_map(inputs, self.in_index)
        if features.shape[1] != self.in_channels:
            raise ValueError(
                f"MMDLHead reads feature map {self.in_index} and expects {self.in_channels} channels, found "
                f"{features.shape[1]}. Set in_channels to that number, or in_index to another map."
            )
        embeddings = self.project(features)
        return functional.normalize(embeddings.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def modes(self) -> Tensor:
        """Return the representatives as unit vectors, float32, shape (C, K, D)."""
        return functional.normalize(self.representatives)

    def log_posterior(self, embeddings: Tensor) -> Tensor:
        """Log class posterior of the mode mixture, with the frequency of the classes as prior.

        Args:
            embeddings: Unit vectors, shape (B, D, h, w).

        Returns:
            Shape (B, C, h, w).
        """
        batch, dim, height, width = embeddings.shape
        distances = functional.squared_distances(
            embeddings.permute(0, 2, 3, 1).reshape(-1, dim), self.modes()
        )
        scores = functional.class_log_posterior(distances, self.bandwidth, self.class_frequency)
        return scores.reshape(batch, height, width, -1).permute(0, 3, 1, 2)

    def class_probabilities(self, inputs: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        """Class posterior of the modes at the size of an image: the second opinion on pseudo labels.

        Args:
            inputs: Feature maps of the backbone or neck.
            size: (height, width) of the result.

        Returns:
            Probabilities, float32, shape (B, C, height, width); they sum to 1 over C.
        """
        posterior = self.log_posterior(self(inputs)).exp()
        return resize(posterior, size=tuple(size), mode="bilinear", align_corners=False)

    def nearest_mode(self, embeddings: Tensor, classes: Tensor) -> Tensor:
        """Most responsible mode of a given class for each pixel.

        Args:
            embeddings: Unit vectors, shape (B, D, h, w).
            classes: Class of each pixel in [0, C), shape (B, h, w).

        Returns:
            Mode indices in [0, K), shape (B, h, w).
        """
        flat = embeddings.permute(0, 2, 3, 1).reshape(-1, embeddings.shape[1])
        own = functional.own_class_distances(
            functional.squared_distances(flat, self.modes()), classes.reshape(-1)
        )
        return own.argmin(dim=1).reshape(classes.shape)
