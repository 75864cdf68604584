"""Multi-modal distribution head: embeds pixels and owns the modes of every class."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..feature_maps import choose_map
from ..losses import functional


@MODELS.register_module()
class MMDLHead(BaseModule):
    """Pixel embedding and learnable mode representatives (layout after RepMet, Karlinsky et al. 2019).

    ``features -> 1x1 conv + norm + ReLU -> 1x1 conv -> unit length in float32``. Each class is a mixture of
    `num_modes` Gaussians on the unit sphere around its representatives. The head computes no loss.

    Args:
        in_channels: Channels of the chosen feature map.
        num_classes: C, >= 1.
        in_index: Which of the backbone's (or neck's) outputs to embed; ``decoder`` embeds what the decode head's
            classifier reads, so that everything below the classifier is shared.
        num_modes: K, modes per class, >= 1; 1 is the unimodal ablation.
        embedding_dim: D, >= 2.
        hidden_channels: Width between the two convolutions.
        bandwidth: Standard deviation of every mode, > 0. With unit vectors and 19 classes of 3 modes, 0.3 lets the
            posterior of a perfect pixel reach 0.999; 0.5 would cap it at 0.50.
        norm_cfg: Normalisation layer between the convolutions.
        memory_size: Source embeddings to remember per mode, for rare modes in the alignment; 0 remembers nothing. The
            memory is in the checkpoint and changes only by `remember` and `forget`, which hooks call between steps.
        init_cfg: MMEngine weight initialisation.

    Raises:
        ValueError: An argument is outside its range.
    """

    class_frequency: Tensor
    memory: Tensor
    memory_written: Tensor

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        in_index: int | str = -1,
        num_modes: int = 3,
        embedding_dim: int = 64,
        hidden_channels: int = 256,
        bandwidth: float = 0.3,
        norm_cfg: dict | None = None,
        memory_size: int = 0,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if (
            num_classes < 1
            or num_modes < 1
            or embedding_dim < 2
            or bandwidth <= 0
            or memory_size < 0
        ):
            raise ValueError(
                "MMDLHead needs num_classes >= 1, num_modes >= 1, embedding_dim >= 2, bandwidth > 0 and memory_size "
                f">= 0, found {num_classes}, {num_modes}, {embedding_dim}, {bandwidth}, {memory_size}."
            )
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.in_index = in_index
        self.num_modes = num_modes
        self.embedding_dim = embedding_dim
        self.bandwidth = bandwidth
        self.project = nn.Sequential(
            ConvModule(in_channels, hidden_channels, 1, norm_cfg=norm_cfg or dict(type="BN")),
            nn.Conv2d(hidden_channels, embedding_dim, 1),
        )
        # Class vector plus a smaller offset per mode: modes of one class start near each other (RepMet).
        class_vectors = torch.randn(num_classes, 1, embedding_dim) * 0.1
        offsets = torch.randn(num_classes, num_modes, embedding_dim) * 0.05
        self.representatives = nn.Parameter(functional.normalise(class_vectors + offsets))
        # Modes are learnt from equally many pixels of every class; `ModeMaintenanceHook` counts how often each occurs.
        self.register_buffer("class_frequency", torch.full((num_classes,), 1 / num_classes))
        self.memory_size = memory_size
        # `ModeMemoryHook` says so: without it a memory stays empty.
        self.memory_followed = False
        if memory_size:
            shape = (num_classes, num_modes, memory_size, embedding_dim)
            self.register_buffer("memory", torch.zeros(shape))
            # How many were ever written: the next slot of a ring, and how much of it is filled.
            self.register_buffer("memory_written", torch.zeros(shape[:2], dtype=torch.long))

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
        return functional.normalise(embeddings.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def modes(self) -> Tensor:
        """Return the representatives as unit vectors, float32, shape (C, K, D)."""
        return functional.normalise(self.representatives)

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

        Compare it with the segmentation head's by `functional.two_head_uncertainty`, for ranking, agreement or weights.

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

    def remembered(self) -> tuple[Tensor, Tensor]:
        """Source embeddings in the memory.

        Returns:
            Unit vectors (M, D) and the mode of each as ``class * K + mode``, shape (M,).

        Raises:
            ValueError: The head has no memory.
        """
        self._check_memory()
        slots = torch.arange(self.memory_size, device=self.memory.device)
        filled = (slots < self.memory_written[..., None]).flatten(0, 1)
        return self.memory.flatten(0, 1)[filled], filled.nonzero()[:, 0]

    @torch.no_grad()
    def remember(self, embeddings: Tensor, labels: Tensor) -> None:
        """Write source embeddings into the memory of their nearest mode, over the oldest ones.

        Args:
            embeddings: Unit vectors, shape (N, D).
            labels: Class of each, shape (N,), in [0, C).

        Raises:
            ValueError: The head has no memory.
        """
        self._check_memory()
        distances = functional.squared_distances(embeddings, self.modes())
        modes = functional.own_class_distances(distances, labels).argmin(dim=1)
        groups = labels * self.num_modes + modes
        for group in groups.unique().tolist():
            newest = embeddings[groups == group][-self.memory_size :]
            index = divmod(group, self.num_modes)
            slots = torch.arange(len(newest), device=newest.device) + self.memory_written[index]
            self.memory[index][slots % self.memory_size] = newest
            self.memory_written[index] += len(newest)

    @torch.no_grad()
    def forget(self, replaced: Tensor) -> None:
        """Empty the memory of modes that were moved; without a memory nothing happens.

        Args:
            replaced: Boolean, shape (C, K).
        """
        if self.memory_size:
            self.memory_written[replaced] = 0

    def _check_memory(self) -> None:
        if not self.memory_size:
            raise ValueError("This MMDLHead remembers nothing; set its memory_size above 0.")
