"""The methods that a benchmark compares: the config folders of this project, and configs of a user's own."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmdrsl.engine.launch import read_config

# The two ends of the comparison, by the names of their folders.
LOWER_BOUND, UPPER_BOUND = "source_only", "oracle"
# What a run of a benchmark reads or sets.
_NEEDED = (
    *("model.segmentor.backbone", "model.terms", "train_dataloader.dataset.source"),
    *("train_cfg.max_iters", "optim_wrapper.optimizer", "default_hooks", "randomness"),
    *("val_evaluator", "val_dataloader.dataset.pipeline", "val_dataloader.dataset.label_space"),
)
# A name is that of a folder, which is emptied before its run begins.
_NAME = re.compile(r"\w[\w.-]*")


def built_in_methods(configs: Path, pair: str) -> list[str]:
    """Names of the methods that have a config of a pair: their folders below the configs.

    Args:
        configs: Folder of the configs.
        pair: Name of the pair.

    Returns:
        The names, the two ends of the comparison first.
    """
    found = {path.parent.name for path in configs.glob(f"*/deeplabv3plus_{pair}.py")}
    return sorted(found, key=lambda name: (name not in (LOWER_BOUND, UPPER_BOUND), name))


def choose_methods(asked: Sequence[str], configs: Path, pair: str) -> dict[str, Path]:
    """Find the configs of the methods that are asked for.

    Args:
        asked: Names of built-in methods, or ``NAME=PATH`` of a config of one's own.
        configs: Folder of the configs.
        pair: Name of the pair.

    Returns:
        Config file by name, in the order of the tables.

    Raises:
        FileNotFoundError: There is no such config.
        ValueError: A name is unknown, no name of a folder, or given twice with different configs.
    """
    known = built_in_methods(configs, pair)
    chosen: dict[str, Path] = {}
    for entry in asked:
        name, given, path = entry.partition("=")
        if given and _NAME.fullmatch(name) is None:
            raise ValueError(
                f"--methods {entry}: {name!r} is no name. Expected NAME=PATH with letters, digits, '_', '.' and '-' in "
                "NAME."
            )
        if given and not Path(path).is_file():
            raise FileNotFoundError(
                f"--methods {entry}: there is no config {path}. Expected NAME=PATH of a config file."
            )
        if not given and name not in known:
            raise ValueError(
                f"unknown method {name!r}: use some of {known}, or NAME=PATH for a config of your own."
            )
        file = Path(path).resolve() if given else configs / name / f"deeplabv3plus_{pair}.py"
        if chosen.setdefault(name, file) != file:
            raise ValueError(
                f"--methods has two configs of {name!r}: {chosen[name]} and {file}; rename one."
            )
    return dict(sorted(chosen.items(), key=lambda item: order_key(item[0])))


def order_key(name: str) -> tuple[int, str]:
    """Sort key of a method in tables: source-only training, the oracle, then by name."""
    ends = (LOWER_BOUND, UPPER_BOUND)
    return (ends.index(name) if name in ends else len(ends), name)


def read_methods(methods: dict[str, Path]) -> dict[str, Config]:
    """Load the configs of methods, as `tools/train.py` would read them.

    Args:
        methods: Config file by name.

    Returns:
        Config by name.

    Raises:
        ValueError: One lacks what every method on a pair of domains has, such as a stock config, or imports a module
            of another folder in the place of its own.
    """
    found = {name: read_config(path) for name, path in methods.items()}
    for name, cfg in found.items():
        _check_modules(name, cfg, methods[name].resolve().parent)
        lacking = [entry for entry in _NEEDED if not _has(cfg, entry.split("."))]
        if lacking:
            raise ValueError(
                f"--methods {name}={methods[name]} lacks {lacking}: expected the config of a method on two domains; "
                "docs/add_a_method.md says what it begins with."
            )
    return found


def check_pair(cfg: Config, method: str, *, pair: str, template: Config) -> None:
    """Refuse a method whose config is of another pair than the one that is compared.

    A source may have further data. What the target and the labels are, and how scores are taken, must be equal, or
    scores are no comparison.

    Args:
        cfg: Config of the method.
        method: Its name, for the message.
        pair: Name of the pair.
        template: Its base config.

    Raises:
        ValueError: Labels, source, target or evaluation are not those of the pair.
    """
    spaces = [each.val_dataloader.dataset.label_space for each in (cfg, template)]
    wrong = [] if spaces[0] == spaces[1] else [f"label space {spaces[0]!r} for {spaces[1]!r}"]
    domains = ("target",) if trains_on_target_labels(cfg) else ("source", "target")
    for domain in domains:
        found, expected = (
            sorted(_roots(each.train_dataloader.dataset.get(domain))) for each in (cfg, template)
        )
        if found and expected and not set(found) & set(expected):
            wrong.append(f"{domain} images of {', '.join(found)} for {', '.join(expected)}")
    if cfg.val_evaluator != template.val_evaluator:
        wrong.append("another val_evaluator")
    if cfg.val_dataloader.dataset.pipeline != template.val_dataloader.dataset.pipeline:
        wrong.append("another pipeline of evaluation")
    if wrong:
        raise ValueError(
            f"--methods {method} is no config of --pair {pair}: it has {'; '.join(wrong)}. Name the --pair that it was "
            "written for, or base it on this one."
        )


def _roots(node: Any) -> set[str]:
    """All folders of data below an entry of a config."""
    if isinstance(node, dict):
        own = {str(Path(node["data_root"]).resolve())} if node.get("data_root") else set()
        return own.union(*map(_roots, node.values()))
    return set().union(*map(_roots, node)) if isinstance(node, list | tuple) else set()


def own_code(cfg: Config) -> list[Path]:
    """Files of the modules that a config imports beside this project.

    Whole packages are included, and modules beside a file that have been imported, by it or by another.

    Args:
        cfg: A config that has been read.
    """
    own = list(_own_modules(cfg).values())
    imported = {
        Path(file).resolve()
        for module in list(sys.modules.values())
        if (file := getattr(module, "__file__", None))
    }
    found: dict[Path, None] = {}
    for file in own:
        if file.name == "__init__.py":
            found |= dict.fromkeys(sorted(file.parent.rglob("*.py")))
        else:
            beside = (other for other in imported if other.parent == file.parent)
            found |= dict.fromkeys([file, *sorted(beside)])
    return list(found)


def _own_modules(cfg: Config) -> dict[str, Path]:
    """File by name of the modules that a config imports beside this project."""
    names = (cfg.get("custom_imports") or {}).get("imports") or []
    files = {
        name: getattr(sys.modules.get(name), "__file__", None)
        for name in ([names] if isinstance(names, str) else names)
        if name.partition(".")[0] != "mmdrsl"
    }
    return {name: Path(file).resolve() for name, file in files.items() if file is not None}


def _check_modules(method: str, cfg: Config, folder: Path) -> None:
    """Refuse a method whose module was found elsewhere, where one of that name lies beside its config."""
    for name, file in _own_modules(cfg).items():
        place = folder.joinpath(*name.split("."))
        for own in (place.with_suffix(".py"), place / "__init__.py"):
            if own.is_file() and own.resolve() != file:
                raise ValueError(
                    f"--methods {method} imports {name!r}, which is {file} here, and not {own} beside its config: give "
                    "one of the modules another name."
                )


def _has(node: Any, path: Sequence[str]) -> bool:
    """Whether the dictionaries of a config have an entry, given by its keys."""
    for key in path:
        node = node.get(key) if isinstance(node, Config | dict) else None
    return node is not None


def title_of(cfg: Config, name: str) -> str:
    """How tables call a method.

    Args:
        cfg: Its config, which may say so by ``title``.
        name: Its name.
    """
    return str(cfg.get("title", name))


def titles_of(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Titles by method, as rows say it, in the order of the tables; of two that are equal, each with its method.

    Args:
        rows: Rows of results.
    """
    found = {row["method"]: row.get("title", row["method"]) for row in rows}
    count = Counter(found.values())
    return {
        name: found[name] if count[found[name]] == 1 else f"{found[name]} ({name})"
        for name in sorted(found, key=order_key)
    }


def is_translated(cfg: Config) -> bool:
    """Whether a method trains on translated source images."""
    return cfg.train_dataloader.dataset.source.type == "TranslatedDataset"


def trains_on_target_labels(cfg: Config) -> bool:
    """Whether a method trains on the labeled target in the source's place: the oracle."""
    labeled, source = cfg.get("oracle_dataset"), cfg.train_dataloader.dataset.source
    # Another pipeline reads the same labels.
    return labeled is not None and all(
        source.get(key) == value for key, value in labeled.items() if key != "pipeline"
    )
