"""What a trained model says about an image: its classes and the modes that they fall into."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch.nn import functional

from mmdrsl.checkpoint_weights import TEACHER_PREFIX, load_weights, predicts, weights_of
from mmdrsl.checkpoints import read_checkpoint
from mmdrsl.datasets.class_names import check_same_classes, classes_of_checkpoint
from mmdrsl.engine.bn_statistics import take_statistics
from mmdrsl.methods.drsl.mmdl_head import MMDLHead
from mmdrsl.models.feature_maps import feature_maps
from mmdrsl.models.segmentors.export import evaluates_teacher, has_teacher
from mmdrsl.models.segmentors.uda_segmentor import UDASegmentor


def load_model(cfg: Config, checkpoint: str | Path) -> UDASegmentor:
    """Build a run's model on the CPU with the weights that the run evaluates, ready to predict.

    Args:
        cfg: The run's config.
        checkpoint: Path of a checkpoint of that run.

    Returns:
        The model in evaluation mode.

    Raises:
        FileNotFoundError: The checkpoint does not exist.
        ValueError: The file is no checkpoint, does not fit the model, or knows other classes.
    """
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    loaded = read_checkpoint(checkpoint)
    weights = weights_of(loaded, checkpoint)
    check_same_classes(
        classes_of_checkpoint(loaded),
        model.classes,
        of=(str(checkpoint), "model.label_space"),
        remedy="Give the config that the checkpoint was trained with.",
    )
    own = model.state_dict()
    load_weights(
        model,
        weights,
        source=checkpoint,
        # What predicts, and the heads that own the modes.
        used=lambda name: predicts(name) or (name.startswith("heads.") and name in own),
    )
    if evaluates_teacher(cfg) and has_teacher(weights):
        prefix = f"{TEACHER_PREFIX}module."
        own = {
            key.removeprefix(prefix): value
            for key, value in weights.items()
            if key.startswith(prefix)
        }
        load_weights(model.networks(), own, source=checkpoint, used=predicts)
    return model.eval()


@torch.no_grad()
def predict_classes(model: Any, packed: dict) -> np.ndarray:
    """Classes of one image.

    Args:
        model: Model in evaluation mode.
        packed: Output of `PackSegInputs`, image (3, H, W) and data sample.

    Returns:
        Train ids, shape (H, W), uint8.
    """
    result = model.test_step(pseudo_collate([packed]))[0]
    return result.pred_sem_seg.data[0].cpu().numpy().astype(np.uint8)


def mode_head(model: UDASegmentor, name: str) -> MMDLHead:
    """Find the head that owns the modes.

    Args:
        model: The adaptor.
        name: Name of the head in ``model.heads``.

    Returns:
        The head.

    Raises:
        ValueError: The adaptor has no `MMDLHead` of that name.
    """
    heads = dict(model.heads.items())
    head = heads.get(name)
    if not isinstance(head, MMDLHead):
        raise ValueError(
            f"model.heads has {sorted(heads)}, expected an MMDLHead named {name!r}: take a run "
            "that learns modes."
        )
    return head


@contextmanager
def source_statistics(model: UDASegmentor, packed: Sequence[dict]) -> Iterator[None]:
    """Normalize by the statistics of source images inside the block, where the adaptor trained the source under them.

    With ``bn_mode="domain_specific"`` the running statistics are the target's alone, and modes met source images under
    those of source batches. With any other mode the block changes nothing.

    Args:
        model: Model in evaluation mode; its statistics are restored.
        packed: Source images, at least two; those of different size are cut to the smallest.
    """
    if model.bn_mode != "domain_specific":
        yield
        return
    networks = model.networks()
    kept = {name: value.clone() for name, value in networks.named_buffers()}
    images = [model.data_preprocessor(pseudo_collate([item]), False)["inputs"] for item in packed]
    height, width = (min(image.shape[side] for image in images) for side in (2, 3))
    batch = torch.cat([image[..., :height, :width] for image in images])
    networks.train()
    take_statistics(networks, [batch], weight=1.0)
    model.eval()
    try:
        yield
    finally:
        for name, value in networks.named_buffers():
            value.copy_(kept[name])


@torch.no_grad()
def predict_modes(
    model: UDASegmentor, packed: dict, *, head: str = "mmdl"
) -> tuple[np.ndarray, np.ndarray]:
    """Classes of one image and the mode of its class that each pixel is nearest to.

    Embeddings are interpolated from the feature map to the size of the image.

    Args:
        model: Model in evaluation mode.
        packed: Output of `PackSegInputs`, image (3, H, W) and data sample.
        head: Name of the `MMDLHead` in the adaptor.

    Returns:
        Train ids and modes in [0, K), each of shape (H, W), uint8.

    Raises:
        ValueError: The adaptor has no `MMDLHead` of that name.
    """
    modes_of = mode_head(model, head)
    classes = predict_classes(model, packed)
    inputs = model.data_preprocessor(pseudo_collate([packed]), False)["inputs"]
    embeddings = modes_of(feature_maps(model, inputs))
    embeddings = functional.interpolate(embeddings, size=inputs.shape[2:], mode="bilinear")
    # Without padding, and at the image's own size where the pipeline has resized it.
    height, width = packed["inputs"].shape[1:]
    embeddings = embeddings[:, :, :height, :width]
    embeddings = functional.interpolate(embeddings, size=classes.shape, mode="bilinear")
    embeddings = functional.normalize(embeddings, dim=1)
    modes = modes_of.nearest_mode(embeddings, torch.from_numpy(classes).long()[None])
    return classes, modes[0].numpy().astype(np.uint8)
