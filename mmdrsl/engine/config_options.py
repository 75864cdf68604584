"""``--cfg-options``: what overrides entries of a config, the same for all tools."""

from __future__ import annotations

import argparse
import copy
import difflib
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import mmengine.registry
import mmseg.registry
from mmengine.config import Config, DictAction
from mmengine.optim import OptimWrapper
from mmengine.registry import Registry
from mmengine.runner import LogProcessor, Runner, set_random_seed
from mmengine.utils.dl_utils import set_multi_processing
from torch.utils.data import DataLoader

from mmdrsl.mmengine_private import RUNNER_HOOKS
from mmdrsl.pseudo_labels.class_balanced_policy import ClassBalancedPolicy
from mmdrsl.pseudo_labels.labeler import PseudoLabeler

DATA_ROOT = "data_root"
_NO_DATA = ("load_from", "work_dir")
_DELETE = "_delete_"
# Entries of any dictionary that a registry builds.
_OF_EVERY_TYPE = frozenset({"type", "_scope_", _DELETE})
# What the Runner and the tools read of a config beside the arguments of the Runner.
_OF_THE_TOP = frozenset(
    {
        *("sync_bn", "model_wrapper_cfg", "find_unused_parameters", "activation_checkpointing"),
        *("efficient_conv_bn_eval", "compile", "custom_imports", "tta_model", "tta_pipeline"),
        *("oracle_dataset", DATA_ROOT),
    }
)
# Where there is no type, the name of the entry says what takes it.
_TAKERS: dict[str, Callable[..., Any]] = {
    "train_dataloader": DataLoader,
    "val_dataloader": DataLoader,
    "test_dataloader": DataLoader,
    "optim_wrapper": OptimWrapper,
    "randomness": set_random_seed,
    "mp_cfg": set_multi_processing,
    "labeler": PseudoLabeler,
    "policy": ClassBalancedPolicy,
    "log_processor": LogProcessor,
}
_KEYS = {
    "train_dataloader": {"dataset", "sampler", "batch_sampler", "num_batch_per_epoch"},
    "env_cfg": {"cudnn_benchmark", "mp_cfg", "dist_cfg", "resource_limit"},
    "auto_scale_lr": {"base_batch_size", "enable"},
    "optim_wrapper": {"constructor", "paramwise_cfg"},
    "clip_grad": {"max_norm", "norm_type", "error_if_nonfinite", "foreach"},
    "paramwise_cfg": {
        *("lr_mult", "decay_mult", "custom_keys", "norm_decay_mult", "bias_lr_mult"),
        *("bias_decay_mult", "dwconv_decay_mult", "dcn_offset_lr_mult", "flat_decay_mult"),
        *("bypass_duplicate", "num_layers", "layer_decay_rate", "decay_rate", "decay_type"),
        "layer_decay",
    },
    "custom_keys": {"lr_mult", "decay_mult", "betas"},
    # Those that the Runner has by itself, to be switched off by None.
    "default_hooks": set(RUNNER_HOOKS),
    "rounds": {"iterations", "target_share", "portion"},
    "data_prefix": {"img_path", "seg_map_path"},
    "metainfo": {"classes", "palette", "label_map", "dataset_type", "task_name"},
    "test_cfg": {"mode", "crop_size", "stride", "threshold"},
    # MMEngine's loops by their old names.
    "train_cfg": {"by_epoch"},
    "norm_cfg": {"requires_grad"},
}
_KEYS["val_dataloader"] = _KEYS["test_dataloader"] = _KEYS["train_dataloader"]
# What the Runner itself takes out of each entry of these, whatever its type.
_OF_ENTRIES = {
    "default_hooks": {"priority"},
    "custom_hooks": {"priority"},
    "param_scheduler": {"convert_to_iter_based"},
}
# Entries with names of the user's own, each with a type.
_NAMED = frozenset({"default_hooks", "terms", "heads", "discriminators"})
# Dictionaries of anything.
_FREE = frozenset({"custom_keys", "dist_cfg"})
# How alike a misspelt name and the right one are, from 0 to 1.
_ALIKE = 0.6
_SURELY_MEANT = 0.8


# A dictionary where a value or an element of a list begins: MMEngine would read a text, or end in a RecursionError.
_DICTIONARY = re.compile(r"(^|[\[(,])\s*\{")


class OptionsAction(DictAction):
    """MMEngine's reading of ``KEY=VALUE``, with an error of the command line for what it cannot read."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Store the options by key."""
        for text in values:
            name, _, value = text.partition("=")
            if not name or "=" not in text:
                parser.error(f"{option_string} {text}: expected KEY=VALUE.")
            if _DICTIONARY.search(value):
                parser.error(
                    f"{option_string} {text}: expected no dictionary; set its entries one by one, with numbers in "
                    "place of the names of a list's elements, such as param_scheduler.0.end=100."
                )
            if any(value.count(pair[0]) != value.count(pair[1]) for pair in ("[]", "()")):
                parser.error(
                    f"{option_string} {text}: expected as many closing as opening brackets."
                )
        super().__call__(parser, namespace, values, option_string)


def add_config_options(
    parser: argparse.ArgumentParser, text: str = "config entries to override"
) -> None:
    """Give a tool ``--cfg-options``; `override` takes what it reads.

    Args:
        parser: The tool's parser.
        text: What its help says.
    """
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=OptionsAction,
        default={},
        metavar="KEY=VALUE",
        help=text,
    )


def override(cfg: Config, options: Mapping[str, Any] | None) -> None:
    """Override entries of a config by the options of a command line.

    A name must be of an entry that is there, or of an argument of the registered type that the entry belongs to, of
    the Runner or of the data loader. A new ``data_root`` replaces the old one at the start of every path: a config's
    variables are used up when it is read, so that overriding the variable alone would change nothing.

    Args:
        cfg: The config, changed in place.
        options: Value by dotted name.

    Raises:
        ValueError: An option has no such place; or ``data_root`` is given, but the config has no such variable, or an
            empty one.
    """
    options = dict(options or {})
    if DATA_ROOT in options:
        _replace_data_root(cfg, str(options.pop(DATA_ROOT)))
    if not options:
        return
    merged = merged_with(cfg, options)
    for name in options:
        refusal = what_is_wrong(cfg, merged, name)
        if refusal is not None:
            raise ValueError(f"--cfg-options {name}: {refusal}")
        if name.partition(".")[0] not in _of_the_runner():
            print(
                f"--cfg-options {name} names a variable of the config's files, which have been read: name the entries "
                "that it was used in.",
                file=sys.stderr,
            )
    cfg.merge_from_dict(options)


def merged_with(cfg: Config, options: Mapping[str, Any]) -> Config:
    """A copy of a config with entries overridden.

    Args:
        cfg: The config.
        options: Value by dotted name.

    Raises:
        ValueError: MMEngine cannot put an option in.
    """
    merged = copy.deepcopy(cfg)
    for name, value in options.items():
        try:
            merged.merge_from_dict({name: value})
        except (KeyError, TypeError, AssertionError, IndexError, AttributeError) as error:
            refusal = what_is_wrong(cfg, cfg, name) or f"it does not fit what is there: {error}"
            raise ValueError(f"--cfg-options {name}: {refusal}") from error
    return merged


def what_is_wrong(cfg: Config, merged: Config, name: str) -> str | None:
    """Say why an option has no place in a config.

    Args:
        cfg: The config as it was.
        merged: The config with all options, which may bring the types of new entries.
        name: Dotted name of the option.

    Returns:
        A sentence; None where the name is that of an entry, or of an argument of what its parent is for.
    """
    parts = name.split(".")
    before: Any = cfg
    after: Any = merged
    for depth, part in enumerate(parts):
        if not _holds(before, part):
            if isinstance(before, list | tuple):
                place = ".".join(parts[:depth])
                return f"{place} has {len(before)} entries, expected their number, found {part!r}."
            known, is_open = _accepted(before, after, parts[:depth])
            if part not in known:
                cutoff = _SURELY_MEANT if is_open else _ALIKE
                close = difflib.get_close_matches(part, sorted(known), n=1, cutoff=cutoff)
                if close or not is_open:
                    return _not_there(parts, depth, after, close, known)
        before, after = _step(before, part), _step(after, part)
    return None


def _not_there(
    parts: list[str], depth: int, holder: Any, close: list[str], known: frozenset[str]
) -> str:
    place = ".".join(parts[:depth]) or "the config"
    kind = holder.get("type") if isinstance(holder, Config | dict) and depth else None
    of_type = "" if kind is None else f" ({getattr(kind, '__name__', kind)})"
    if close:
        remedy = f"did you mean {'.'.join([*parts[:depth], close[0], *parts[depth + 1 :]])}?"
    elif known - _OF_EVERY_TYPE:
        remedy = f"expected one of {', '.join(sorted(known - _OF_EVERY_TYPE)[:40])}."
    else:
        remedy = "expected the name of an entry."
    return f"{place}{of_type} has no entry {parts[depth]!r} and takes none of that name; {remedy}"


def _holds(found: Any, part: str) -> bool:
    if isinstance(found, list | tuple):
        return part.isdigit() and int(part) < len(found)
    return isinstance(found, Config | dict) and part in found


def _step(found: Any, part: str) -> Any:
    if not _holds(found, part):
        return None
    return found[int(part)] if isinstance(found, list | tuple) else found[part]


def _of_the_runner() -> frozenset[str]:
    return frozenset(inspect.signature(Runner).parameters) - {"cfg"} | _OF_THE_TOP


def _accepted(before: Any, after: Any, place: list[str]) -> tuple[frozenset[str], bool]:
    """Names that a dictionary of a config may have.

    Args:
        before: The dictionary as it was, or None.
        after: The dictionary with all options, or whatever is there.
        place: Parts of its name.

    Returns:
        The names; and whether there may be further ones that cannot be known.
    """
    present = frozenset(map(str, before) if isinstance(before, Config | dict) else ())
    if not place:
        return _of_the_runner() | present, False
    name = place[-1]
    if name in _FREE or not isinstance(after, dict):
        return frozenset(), True
    if name in _NAMED and place[-2:-1] not in (["custom_keys"], ["optim_wrapper"]):
        typed = {key for key, value in after.items() if _names_a_type(value)}
        return present | typed | frozenset(_KEYS.get(name, ())), False
    if name.isdigit() or place[-2:-1] == ["custom_keys"]:
        name = place[-2]
    elif place[-2:-1] == ["optim_wrapper"] and "optimizer" in after:
        # One of several wrappers, by a name of the user's own.
        name = "optim_wrapper"
    known = present | _OF_EVERY_TYPE | frozenset(_KEYS.get(name, ()))
    known |= _OF_ENTRIES.get("".join(place[-2:-1]), set())
    kind = after.get("type", _TAKERS.get(name))
    if kind is None:
        return known, False
    taker = kind if callable(kind) else find_type(kind)
    if taker is None:
        # Whatever builds it will say that there is no such type.
        return known, True
    arguments, is_open = arguments_of(taker)
    return known | arguments, is_open


def _names_a_type(entry: Any) -> bool:
    kind = entry.get("type") if isinstance(entry, dict) else None
    return isinstance(kind, str) or callable(kind)


def find_type(name: Any) -> Any:
    """Find what a config's ``type`` names, in whatever registry has it.

    Args:
        name: The name, perhaps with its scope.

    Returns:
        Class or function; None where there is none.
    """
    scope, _, plain = str(name).rpartition(".")
    for registry in _registries():
        found = registry.module_dict.get(plain)
        if found is not None and (not scope or registry.scope == scope):
            return found
    return None


def _registries() -> Iterator[Registry]:
    """MMSegmentation's registries, then all others."""
    roots = [each for each in vars(mmseg.registry).values() if isinstance(each, Registry)]
    yield from roots
    left = [each for each in vars(mmengine.registry).values() if isinstance(each, Registry)]
    while left:
        registry = left.pop()
        yield registry
        left += registry.children.values()


def arguments_of(taker: Callable[..., Any]) -> tuple[frozenset[str], bool]:
    """Names of the arguments that a class or function takes, those that it passes on to its bases among them.

    Args:
        taker: Class or function.

    Returns:
        The names; and whether it takes others that cannot be known, since it passes them elsewhere.
    """
    makers = [taker]
    if inspect.isclass(taker):
        makers = [vars(base)["__init__"] for base in taker.__mro__[:-1] if "__init__" in vars(base)]
    names: set[str] = set()
    is_open = False
    for maker in makers:
        try:
            parameters = inspect.signature(maker).parameters.values()
        except (TypeError, ValueError):
            return frozenset(names), True
        named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        names |= {each.name for each in parameters if each.kind in named}
        is_open = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters)
        if not is_open:
            break
    return frozenset(names - {"self"}), is_open


def _replace_data_root(cfg: Config, new: str) -> None:
    old = cfg.get(DATA_ROOT)
    if not isinstance(old, str):
        raise ValueError(
            "the config has no top-level data_root to replace: name the whole entry, such as "
            "train_dataloader.dataset.data_root"
        )
    if not old.rstrip("/"):
        raise ValueError(
            f"the config's data_root is {old!r}, which begins every path: name the whole entry, such as "
            "train_dataloader.dataset.data_root"
        )
    # Not merged: MMEngine merges no dictionary with integer keys, such as a table of ids.
    for key, value in _replaced(cfg.to_dict(), old.rstrip("/"), new.rstrip("/")).items():
        if key not in _NO_DATA:
            cfg[key] = value


def _replaced(value: Any, old: str, new: str) -> Any:
    """Replace a path at the start of all strings inside dictionaries and lists."""
    if isinstance(value, dict):
        return {key: _replaced(item, old, new) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_replaced(item, old, new) for item in value)
    if isinstance(value, str) and (value.rstrip("/") == old or value.startswith(old + "/")):
        return new + value[len(old) :]
    return value
