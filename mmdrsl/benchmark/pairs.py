"""The pairs of domains on which a benchmark compares methods, and what lists their data."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config

from mmdrsl.atomic_files import file_hash
from mmdrsl.benchmark.networks import DEFAULT_NETWORK
from mmdrsl.datasets.inspection.config_domains import datasets_of
from mmdrsl.datasets.inspection.domain_report import list_files


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A labeled source and an unlabeled target, for which every method has a config.

    Attributes:
        name: How its configs are called: ``<method>/deeplabv3plus_<name>.py``.
        network: Network of these configs, trained by default.
        variable: Environment variable that names the folder of the data, which the configs read.
        folders: Folders in it, source and target.
        lists: Files in that folder which list training images and classes; their hashes are part of a run's. Without
            any, names and sizes of the image files that the configs find are.
        evaluation: Folder in that folder for `read_evaluation_set`; None for the validation images of the configs.
        rare_class_pixels: Pixels of a class from which on an image is drawn for it, with the extra ``rare_classes``.
        checkpoint_interval: Steps between two checkpoints.
    """

    name: str
    network: str
    variable: str
    folders: tuple[str, str]
    lists: tuple[str, ...] = ()
    evaluation: str | None = None
    rare_class_pixels: int
    checkpoint_interval: int


DEFAULT_PAIR = "carla2camvid"
PAIRS = {
    pair.name: pair
    for pair in (
        Pair(
            name=DEFAULT_PAIR,
            network=DEFAULT_NETWORK,
            variable="MMDRSL_BENCHMARK",
            folders=("carla", "camvid"),
            lists=(
                "carla/classes.json",
                "carla/train.txt",
                "camvid/classes.json",
                "camvid/train.txt",
            ),
            evaluation="camvid",
            # DAFormer's share of a crop would be 560: carla/train has that of signs in two images, of persons in eight.
            rare_class_pixels=100,
            checkpoint_interval=100,
        ),
        Pair(
            name="scenes2scenes",
            network="deeplabv3plus_small",
            variable="MMDRSL_SCENES",
            folders=("game", "camera"),
            rare_class_pixels=100,
            checkpoint_interval=100,
        ),
        Pair(
            name="gta2cs",
            network="deeplabv3plus_r50",
            variable="MMDRSL_SAMPLES",
            folders=("gta5", "cityscapes"),
            # DAFormer's.
            rare_class_pixels=3000,
            checkpoint_interval=1000,
        ),
    )
}
"""Pairs by name."""


def check_data(pair: Pair, data: Path) -> None:
    """Look for the folders of a pair before configs look for their files.

    Args:
        pair: The pair.
        data: Folder of the data.

    Raises:
        FileNotFoundError: One is missing.
    """
    missing = [name for name in pair.folders if not (data / name).is_dir()]
    if missing:
        raise FileNotFoundError(
            f"--data {data} has no {' and no '.join(missing)}: --pair {pair.name} expects {' and '.join(pair.folders)} "
            "in it; docs/datasets.md says how to get or make them, docs/benchmark.md how to render the scenes."
        )


def training_data_identity(pair: Pair, template: Config, data: Path) -> list[str]:
    """Hashes of what lists the training data; the images themselves are taken on trust.

    Args:
        pair: The pair.
        template: Config of source-only training on it.
        data: Folder of the data, which the environment variable of the pair names.

    Returns:
        The hashes.

    Raises:
        FileNotFoundError: A list, or a folder of images, is missing.
    """
    if pair.lists:
        for name in pair.lists:
            if not (data / name).is_file():
                raise FileNotFoundError(
                    f"--data {data} has no {name}: expected a folder laid out as the benchmark, with "
                    f"{list(pair.lists)}."
                )
        return [file_hash(data / name) for name in pair.lists]
    found = datasets_of(template)
    return [
        hashlib.sha256(
            "\n".join(
                f"{os.path.relpath(info['img_path'], data)} {os.path.getsize(info['img_path'])}"
                for dataset in found[domain]
                for info in list_files(dataset)
            ).encode()
        ).hexdigest()
        for domain in ("source", "target")
    ]
