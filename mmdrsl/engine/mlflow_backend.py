"""MLflow as a backend that takes the pictures of a run."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmengine.visualization import MLflowVisBackend
from mmengine.visualization.vis_backend import force_init_env
from mmseg.registry import VISBACKENDS


@VISBACKENDS.register_module()
class MLflowPicturesVisBackend(MLflowVisBackend):
    """`MLflowVisBackend` whose pictures have names of files, without which MLflow refuses them.

    The arguments are those of `MLflowVisBackend`.
    """

    @force_init_env
    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs: Any) -> None:
        """Log a picture as the artifact ``pictures/<name>_<step>.png``.

        Args:
            name: Name of the picture.
            image: RGB, shape (H, W, 3), uint8.
            step: Training step.
            **kwargs: Taken and not used, as by the other backends.
        """
        self._mlflow.log_image(image, f"pictures/{name}_{step}.png")
