"""Weights that are named by a URL: said in the log, downloaded once, then a file like any other."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from urllib.parse import unquote, urlparse

import torch
from mmengine.dist import barrier, get_dist_info
from mmengine.logging import print_log
from mmengine.runner.checkpoint import (
    get_deprecated_model_names,
    get_external_models,
    get_mmcls_models,
    get_torchvision_models,
)

RANDOM_WEIGHTS = (
    "train from random weights with model.segmentor.pretrained=None and "
    "model.segmentor.backbone.init_cfg=None"
)
REMEDY = f"give the file of the weights, or {RANDOM_WEIGHTS}"


def is_remote(checkpoint: str) -> bool:
    """Whether a config names weights by a URL instead of a file."""
    return "://" in checkpoint


def weight_url(checkpoint: str) -> str:
    """The address behind a name that MMEngine knows.

    Args:
        checkpoint: A URL of http, https or file, or a name of MMEngine's model zoos such as ``torchvision://resnet50``.

    Returns:
        The URL.

    Raises:
        ValueError: No zoo has such a name, or the scheme is another.
    """
    scheme, _, name = checkpoint.partition("://")
    if scheme in ("http", "https", "file"):
        return checkpoint
    zoos = {
        "torchvision": get_torchvision_models,
        "modelzoo": get_torchvision_models,
        "open-mmlab": get_external_models,
        "openmmlab": get_external_models,
        "mmcls": get_mmcls_models,
    }
    if scheme not in zoos:
        raise ValueError(f"{checkpoint} is of a scheme that is not known: {REMEDY}.")
    known = zoos[scheme]()
    found = known.get(name) or known.get(get_deprecated_model_names().get(name))
    if found is None:
        raise ValueError(f"{scheme}:// has no weights of the name {name!r}: {REMEDY}.")
    return found


def fetch_weights(checkpoint: str, *, wanted_by: str) -> Path:
    """Download weights, unless an earlier run did, and say so before.

    The first rank downloads.

    Args:
        checkpoint: What `weight_url` takes.
        wanted_by: Who needs them, for the log.

    Returns:
        The file.

    Raises:
        FileNotFoundError: They cannot be downloaded.
        ValueError: As `weight_url`.
    """
    url = weight_url(checkpoint)
    parts = urlparse(url)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    print_log(f"{wanted_by} starts from {checkpoint}.", logger="current")
    if get_dist_info()[0] == 0:
        try:
            download(url)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{wanted_by} starts from {checkpoint}: {error} Or {RANDOM_WEIGHTS}."
            ) from error
    barrier()
    return stored_file(url)


def stored_file(url: str, folder: str | None = None) -> Path:
    """Where a download is kept, whether or not it is there.

    Args:
        url: A URL of http or https.
        folder: The folder; None is PyTorch's, ``$TORCH_HOME/hub/checkpoints``.
    """
    return Path(folder or Path(torch.hub.get_dir(), "checkpoints"), Path(urlparse(url).path).name)


def download(url: str, folder: str | None = None) -> Path:
    """Download a file, unless it is there, and say so before.

    Args:
        url: As `stored_file`.
        folder: As `stored_file`.

    Returns:
        The file.

    Raises:
        FileNotFoundError: It cannot be downloaded.
    """
    file = stored_file(url, folder)
    if not file.is_file():
        print_log(f"Downloading {url} to {file}.", logger="current", level=logging.WARNING)
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(file), progress=sys.stderr.isatty())
        except OSError as error:
            raise FileNotFoundError(
                f"{url} could not be downloaded ({error}): give the path of a file in its place."
            ) from error
    return file
