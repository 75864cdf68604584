"""Loads weights into a model, and refuses those that do not fit it."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from mmengine.logging import print_log
from torch import Tensor, nn

from mmdrsl.finite_values import non_finite_names

SEGMENTOR_PREFIX = "segmentor."
TEACHER_PREFIX = "teacher."

# What a model has beside the network that predicts: each part of it is there as a whole, or not at all.
_PARTS = ("heads", "discriminators", "terms")
_WHOLE_PARTS = ("teacher", "auxiliary_head")
_REVISED = ((r"^module\.", ""),)
_NUM_SHOWN = 3
_MISMATCH = re.compile(
    r"size mismatch for (\S+): copying a param with shape torch\.Size\(\[(.*?)\]\) from checkpoint, "
    r"the shape in current model is torch\.Size\(\[(.*?)\]\)"
)


def part_of(name: str) -> str | None:
    """Part that a weight belongs to, beside the network that predicts.

    Args:
        name: Name of the weight in a `UDASegmentor` or in a plain segmentor.

    Returns:
        ``teacher``, ``auxiliary_head``, ``heads.<name>``, ``discriminators.<name>`` or ``terms.<name>``; None where the
        weight belongs to backbone, neck or decode head.
    """
    words = name.removeprefix(SEGMENTOR_PREFIX).split(".")
    if words[0] in _WHOLE_PARTS:
        return words[0]
    return ".".join(words[:2]) if words[0] in _PARTS else None


def predicts(name: str) -> bool:
    """Whether a weight belongs to the network that predicts: backbone, neck or decode head of the student."""
    return part_of(name) is None


def weights_of(
    checkpoint: Mapping[str, Any],
    source: str | Path,
    revised: Iterable[tuple[str, str]] = _REVISED,
) -> OrderedDict[str, Tensor]:
    """Weights of a checkpoint, or of a file of weights alone, as one process names them.

    Args:
        checkpoint: What `read_checkpoint` gives.
        source: The file, for messages.
        revised: Regular expression and replacement of parts of names.

    Returns:
        Weights by name.

    Raises:
        ValueError: There are none, or something else is among them.
    """
    state = checkpoint.get("state_dict", checkpoint)
    if not isinstance(state, Mapping):
        raise ValueError(
            f"{source} has a {type(state).__name__} as state_dict, expected weights by name: give the checkpoint of a "
            "training."
        )
    strangers = [str(name) for name, value in state.items() if not isinstance(value, Tensor)]
    if strangers or not state:
        found = f"{_shown(strangers)} beside weights" if len(strangers) < len(state) else "none"
        if strangers and len(strangers) == len(state):
            found = f"the keys {_shown(strangers)}"
        raise ValueError(
            f"{source} is no file of weights: expected tensors by name, below state_dict or alone, found {found}. Give "
            "the checkpoint of a training, or save model.state_dict()."
        )

    def renamed(name: str) -> str:
        for pattern, replacement in revised:
            name = re.sub(pattern, replacement, name)
        return name

    weights = OrderedDict((renamed(str(name)), value) for name, value in state.items())
    metadata = getattr(state, "_metadata", None)
    if isinstance(metadata, dict):
        # By it layers know how an older version named and laid out their weights.
        weights._metadata = {renamed(str(name)): each for name, each in metadata.items()}  # type: ignore[attr-defined]
    return weights


def load_weights(
    model: nn.Module,
    weights: Mapping[str, Tensor],
    *,
    source: str | Path,
    used: Callable[[str], bool] = lambda name: True,
    separable: Collection[str] = (),
    anew: Collection[str] = (),
) -> None:
    """Load weights into a model that is about to be used.

    Args:
        model: The model. A `UDASegmentor` takes the weights of a plain segmentor, too.
        weights: Weights by name, see `weights_of`.
        source: Their file, for messages.
        used: Whether a weight of the model is used, by its name. Of the others those that fit are loaded.
        separable: First words of parts (see `part_of`) that start as initialized where the file has nothing of them,
            and are passed over where the model has nothing of them.
        anew: Prefixes of names, with or without ``segmentor.``, of weights that are not taken from the file.

    Raises:
        ValueError: Weights that are used are missing, unexpected, of another shape or not finite; a prefix of `anew`
            is that of no weight of the model.
    """
    own = model.state_dict()
    state = _as_named_by(own, weights)
    _check_prefixes(anew, own)
    parts = {part_of(name) for name in own}, {part_of(name) for name in state}

    def is_lenient(name: str) -> bool:
        part = part_of(name)
        if part is None:
            return name in own and not used(name)
        is_apart = part.split(".")[0] in separable and not all(part in each for each in parts)
        return is_apart or not used(name)

    passed_over = [
        name
        for name, value in state.items()
        if begins(name, anew)
        or (is_lenient(name) and (name not in own or value.shape != own[name].shape))
    ]
    for name in passed_over:
        del state[name]
    _check_finite(state, own, source, used)
    missing, unexpected, reshaped = _load(model, state)
    left = [name for name in missing if is_lenient(name)]
    missing = [name for name in missing if not is_lenient(name) and not begins(name, anew)]
    unexpected = [name for name in unexpected if not is_lenient(name)]
    reshaped = {name: text for name, text in reshaped.items() if not is_lenient(name)}
    found = {
        "missing": missing,
        "unexpected": unexpected,
        "of another shape": [f"{name} {text}" for name, text in reshaped.items()],
    }
    misfit = "; ".join(
        f"{len(names)} {kind} ({_shown(names)})" for kind, names in found.items() if names
    )
    if misfit:
        raise ValueError(
            f"{source} does not fit the model ({type(model).__name__}); weights: {misfit}. {_remedy(own, weights)}"
        )
    started = sorted({str(part_of(name)) for name in left if used(name)})
    if started:
        print_log(f"{source} has nothing of {started}: they start as initialized.", "current")
    strange = sorted({str(part_of(name) or name) for name in passed_over if name not in own})
    if strange:
        print_log(f"{source}: passed over {strange}, which the model does not have.", "current")


def begins(name: str, prefixes: Collection[str]) -> bool:
    """Whether a name begins with one of these prefixes, with or without ``segmentor.``, at the end of a word."""
    names = f"{name}.", f"{name.removeprefix(SEGMENTOR_PREFIX)}."
    return any(each.startswith(f"{prefix.rstrip('.')}.") for prefix in prefixes for each in names)


def _as_named_by(own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> OrderedDict:
    """A copy of the weights; those of a plain segmentor by the names that an adaptation's model has for them."""

    def holds_segmentor(names: Iterable[str]) -> bool:
        return any(name.startswith(SEGMENTOR_PREFIX) for name in names)

    prefix = SEGMENTOR_PREFIX if holds_segmentor(own) and not holds_segmentor(weights) else ""
    state = OrderedDict((prefix + name, value) for name, value in weights.items())
    metadata = getattr(weights, "_metadata", None)
    if metadata is not None:
        state._metadata = {  # type: ignore[attr-defined]
            f"{prefix}{name}".rstrip("."): each for name, each in metadata.items()
        }
    return state


def _load(
    model: nn.Module, state: Mapping[str, Tensor]
) -> tuple[list[str], list[str], dict[str, str]]:
    """Load, and return the names of missing and of unexpected weights, and the shapes of those that differ."""
    reshaped: dict[str, str] = {}
    try:
        result = model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        reshaped = {
            name: f"({given}) instead of ({own})"
            for name, given, own in _MISMATCH.findall(str(error))
        }
        if not reshaped:
            raise ValueError(f"the weights cannot be loaded: {error}") from error
        # PyTorch names either kind alone.
        result = model.load_state_dict(_without(state, reshaped), strict=False)
    # Files older than this counter lack it; PyTorch then starts it at zero.
    missing = [
        name
        for name in result.missing_keys
        if name not in reshaped and not name.endswith("num_batches_tracked")
    ]
    return missing, list(result.unexpected_keys), reshaped


def _without(state: Mapping[str, Tensor], names: Collection[str]) -> OrderedDict:
    rest = OrderedDict((name, value) for name, value in state.items() if name not in names)
    if hasattr(state, "_metadata"):
        rest._metadata = state._metadata  # type: ignore[attr-defined]
    return rest


def _check_prefixes(prefixes: Collection[str], own: Mapping[str, Tensor]) -> None:
    unknown = [prefix for prefix in prefixes if not any(begins(name, [prefix]) for name in own)]
    if unknown:
        raise ValueError(
            f"load_from_without names {unknown}, with which no weight of the model begins, such as {_shown(own)}: "
            "correct the prefixes."
        )


def _check_finite(
    state: Mapping[str, Tensor],
    own: Mapping[str, Tensor],
    source: str | Path,
    used: Callable[[str], bool],
) -> None:
    damaged = non_finite_names(
        {name: value for name, value in state.items() if name in own and used(name)}
    )
    if damaged:
        raise ValueError(
            f"{source} holds NaN or infinite values in {len(damaged)} weights ({_shown(damaged)}): the training that "
            "wrote it diverged. Take an earlier checkpoint, or train again with a lower learning rate."
        )


def _remedy(own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> str:
    adapted = [any(name.startswith(SEGMENTOR_PREFIX) for name in names) for names in (own, weights)]
    if adapted == [False, True]:
        return (
            "It is the checkpoint of an adaptation, and the model is a plain segmentor: give the config of the "
            "adaptation, or the checkpoint that mmdrsl export writes."
        )
    return (
        "Give a checkpoint of this config. A training that is to start some of the weights anew, as for other classes, "
        "lists their prefixes in load_from_without."
    )


def _shown(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:_NUM_SHOWN]) + (", ..." if len(listed) > _NUM_SHOWN else "")
