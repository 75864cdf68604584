"""The pairs of domains on which a benchmark compares methods: what their base configs say of the comparison."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from mmengine.config import Config

from mmdrsl.atomic_files import file_hash
from mmdrsl.datasets.inspection.config_domains import datasets_of
from mmdrsl.datasets.inspection.domain_report import list_files

DEFAULT_PAIR = "carla2camvid"
_ENTRY = re.compile(r"^benchmark\s*=", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A labeled source and an unlabeled target; ``benchmark`` in ``_base_/pairs/<name>.py`` has the entries.

    Attributes:
        name: How its configs are called: ``<method>/deeplabv3plus_<name>.py``.
        network: Network of these configs, trained by default.
        variable: Environment variable that names the folder of the data, which the configs read.
        folders: Folders in it, source and target.
        lists: Files in that folder which list training images and classes; their hashes are part of a run's. Without
            any, names and sizes of the image files that the configs find are.
        evaluation: Folder in that folder for `read_evaluation_set`; None for the validation images of the configs.
        weights: File name in the folder ``weights`` of the data by network.
        rare_class_pixels: Pixels of a class from which on an image is drawn for it by rare class sampling.
        checkpoint_interval: Steps between two checkpoints.
        capture_step: Largest difference of frame numbers within a capture run of the source; None where its images are
            independent.
    """

    name: str
    network: str
    variable: str
    folders: tuple[str, ...]
    lists: tuple[str, ...] = ()
    evaluation: str | None = None
    weights: dict[str, str] = field(default_factory=dict)
    rare_class_pixels: int
    checkpoint_interval: int
    capture_step: int | None = None


def pair_names(configs: Path) -> list[str]:
    """Names of the pairs that methods can be compared on: those whose base config itself has a ``benchmark``.

    The files are searched and not read as configs, so that a tool which lists the names shows its help at once.

    Args:
        configs: Folder of the configs.
    """
    files = sorted((configs / "_base_/pairs").glob("*2*.py"))
    return [path.stem for path in files if _ENTRY.search(path.read_text(encoding="utf-8"))]


def read_pair(name: str, configs: Path) -> Pair:
    """Read what a pair's base config says of the comparison.

    Args:
        name: Name of the pair.
        configs: Folder of the configs.

    Returns:
        The pair.

    Raises:
        ValueError: There is no such pair, or its base config has no ``benchmark``.
    """
    path = configs / "_base_/pairs" / f"{name}.py"
    if not path.is_file():
        raise ValueError(f"unknown pair {name!r}: use some of {pair_names(configs)}.")
    cfg = Config.fromfile(path)
    if "benchmark" not in cfg:
        raise ValueError(
            f"{path} has no entry 'benchmark', which says where the data of a comparison are: add one, see "
            "docs/add_a_pair.md."
        )
    entries = dict(cfg.benchmark)
    return Pair(
        name=name,
        **{
            **entries,
            "folders": tuple(entries["folders"]),
            "lists": tuple(entries.get("lists", ())),
            "weights": dict(entries.get("weights", {})),
        },
    )


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
            "in it; docs/datasets.md says how to get or make them, docs/protocol.md how to render the scenes."
        )


def training_data_identity(pair: Pair, template: Config, data: Path) -> list[str]:
    """Hashes of what lists the training data; the images themselves are taken on trust.

    Args:
        pair: The pair.
        template: Config of a method on it that trains on the source and knows the target.
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
