"""Which datasets a config trains and validates on, built without reading a file."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from mmdrsl.engine import launch

DOMAINS = ("source", "target", "val")


def datasets_of(cfg: Config) -> dict[str, list[BaseSegDataset]]:
    """Build the datasets of a config by domain.

    Args:
        cfg: Any config of mmdrsl or MMSegmentation with ``train_dataloader`` or ``val_dataloader``, also one of
            datasets only. The training data of a plain MMSegmentation config are its source.

    Returns:
        By domain (``source``, ``target``, ``val``), as far as the config has them: datasets without a pipeline that
        have listed no file yet. Concatenated and repeated datasets are taken apart.

    Raises:
        ValueError: The config has neither loader, or a dataset is none of MMSegmentation's kind.
    """
    init_default_scope(cfg.get("default_scope", "mmseg"))
    training = _dataset_cfg(cfg, "train_dataloader")
    if training is not None and training["type"] == "TwoDomainDataset":
        parts = {"source": training.get("source"), "target": training.get("target")}
    else:
        parts = {"source": training}
    parts["val"] = _dataset_cfg(cfg, "val_dataloader")
    found = {name: part for name, part in parts.items() if part is not None}
    if not found:
        raise ValueError(
            "the config has no dataset in train_dataloader or val_dataloader: give a config of training or of datasets"
        )
    return {name: [_build(leaf) for leaf in plain_datasets(part)] for name, part in found.items()}


def _dataset_cfg(cfg: Config, loader: str) -> Mapping[str, Any] | None:
    return (cfg.get(loader) or {}).get("dataset")


def read_config(path: str) -> Config:
    """Read a config, whatever is wrong with it.

    Args:
        path: The file.

    Returns:
        The config.

    Raises:
        OSError: It, or a base of it, cannot be read.
        ValueError: It is no config.
    """
    try:
        return launch.read_config(path)
    except OSError:
        raise
    except Exception as error:
        raise ValueError(f"no config: {type(error).__name__}: {error}") from error


def plain_datasets(cfg: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The plain datasets inside wrappers."""
    inner = cfg.get("datasets", cfg.get("dataset"))
    if inner is None:
        yield cfg
    else:
        for part in [inner] if isinstance(inner, Mapping) else inner:
            yield from plain_datasets(part)


def _build(cfg: Mapping[str, Any]) -> BaseSegDataset:
    options = {**copy.deepcopy(dict(cfg)), "pipeline": [], "lazy_init": True}
    dataset = DATASETS.build(options)
    if not isinstance(dataset, BaseSegDataset):
        raise ValueError(
            f"{type(dataset).__name__} is no segmentation dataset of MMSegmentation: only those, and ConcatDataset, "
            "RepeatDataset and TwoDomainDataset around them, can be inspected"
        )
    return dataset
