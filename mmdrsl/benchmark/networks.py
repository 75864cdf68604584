"""The networks of a benchmark, and how a method's config takes another one."""

from __future__ import annotations

import copy
import functools
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

SCRATCH = "scratch"


def network_names(configs: Path) -> list[str]:
    """Names of the networks that ``_base_/models`` describes.

    Args:
        configs: Folder of the configs.
    """
    found = sorted(path.stem for path in (configs / "_base_/models").glob("*.py"))
    # The adaptor is around all of them; a file with weights describes a network that another one does.
    return [name for name in found if name != "adaptor" and not name.endswith("_in1k")]


def shown_network(rows: Iterable[Mapping[str, Any]]) -> str:
    """The network that pages and figures show: the one that most rows have.

    Args:
        rows: Rows of a benchmark.

    Returns:
        Its name; empty without rows.
    """
    found = Counter(row["model"] for row in rows)
    return found.most_common(1)[0][0] if found else ""


def weights_of(
    name: str, *, usual: Mapping[str, str], data: Path, given: Mapping[str, str]
) -> Path | None:
    """The file that a network's backbone starts from.

    Args:
        name: Name of the network.
        usual: File name by network, of the weights that come with the data of a pair.
        data: Folder of the data, with these files in ``weights/``.
        given: File by network, or ``scratch``, from the command line.

    Returns:
        The file; None for random weights.

    Raises:
        FileNotFoundError: The file is missing.
    """
    if given.get(name) == SCRATCH or (name not in given and name not in usual):
        return None
    path = Path(given[name]) if name in given else data / "weights" / usual[name]
    if not path.is_file():
        raise FileNotFoundError(
            f"{name} starts from {path}, which does not exist: put it there, or give --weights {name}=FILE, or "
            f"--weights {name}={SCRATCH} to train from random weights."
        )
    return path.resolve()


def use_network(cfg: Config, name: str, *, configs: Path, usual: str) -> str | None:
    """Put a network into the config of a method that was written for another.

    The segmentor is that of ``_base_/models/<name>.py``; `UDASegmentor` fills in what depends on it. A segmentor
    that is none of these stays, as the usual network. Initial weights are left out: see `use_weights`.

    Args:
        cfg: Config of a method, changed in place.
        name: Name of the network.
        configs: Folder of the configs.
        usual: Name of the network of the pair's configs.

    Returns:
        Name of the network that the config had, where it was neither `name` nor `usual`.

    Raises:
        ValueError: There is no such network, or no other one can take the place of the segmentor.
    """
    known = network_names(configs)
    if name not in known:
        raise ValueError(f"unknown model {name!r}: use some of {known}.")
    wanted = _model(name, configs)
    replaced = None
    if not _is_same(cfg.model, wanted):
        own = [each for each in (usual, *known) if _is_same(cfg.model, _model(each, configs))]
        if own:
            replaced = None if own[0] == usual else own[0]
            cfg.model.segmentor = copy.deepcopy(wanted.segmentor)
            cfg.model.data_preprocessor = copy.deepcopy(wanted.data_preprocessor)
        elif name != usual:
            raise ValueError(
                f"The model.segmentor of a method or its pair is none of {known}, so that {name} cannot take its "
                "place: leave --models out."
            )
    cfg.model.segmentor.backbone.pop("init_cfg", None)
    return replaced


def use_weights(cfg: Config, weights: Path | None) -> None:
    """Let the backbone begin with given weights, whatever the config says.

    Args:
        cfg: Config of a method, changed in place.
        weights: Weights of the backbone; None for random ones.
    """
    cfg.model.segmentor.backbone.pop("init_cfg", None)
    if weights is not None:
        cfg.model.segmentor.backbone.init_cfg = dict(type="Pretrained", checkpoint=str(weights))


@functools.cache
def _model(name: str, configs: Path) -> ConfigDict:
    return Config.fromfile(configs / "_base_/models" / f"{name}.py").model


def _is_same(first: ConfigDict, second: ConfigDict) -> bool:
    """Whether two models have one segmentor, whatever its weights are."""
    first, second = (copy.deepcopy(model.segmentor) for model in (first, second))
    for segmentor in (first, second):
        segmentor.backbone.pop("init_cfg", None)
    return first == second
