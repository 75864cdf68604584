"""What a config gives to a class is what its annotations say, or an error names the argument."""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Mapping, Sequence
from math import isnan
from os import PathLike
from typing import Any, TypeVar

import mmseg.registry
import numpy as np
from mmengine.registry import Registry

Class = TypeVar("Class", bound=type)

_KINDS = {
    bool: ((bool, np.bool_), "True or False"),
    int: ((int, np.integer), "an integer"),
    float: ((int, float, np.integer, np.floating), "a number"),
    str: ((str, PathLike), "a string"),
}
# Only values of these kinds are judged: others come from programs, not from configs.
_PLAIN = (str, bool, int, float, list, tuple, dict, type(None))


def checked_arguments(decorated: Class) -> Class:
    """Let a class refuse arguments of another kind than its annotations say, NaN, and negative counts.

    Judged are numbers, strings, True and False, None, and sequences and dictionaries of them.

    Args:
        decorated: A class with an ``__init__`` of its own.

    Returns:
        The class. Its ``__init__`` raises TypeError or ValueError with the name of the class, the argument, what was
        found and what was expected.
    """
    original = decorated.__init__
    signature = inspect.signature(original)

    @functools.wraps(original)
    def checked(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            given = signature.bind_partial(self, *args, **kwargs).arguments
        except TypeError:
            # Python says which argument is unknown.
            given = {}
        hints = _hints(original)
        for name, value in given.items():
            if name in hints:
                check_value(f"{type(self).__name__}.{name}", value, hints[name])
        original(self, *args, **kwargs)

    decorated.__init__ = checked
    return decorated


def check_registered() -> None:
    """Check the arguments of every class of this project that a config can name."""
    registries = [each for each in vars(mmseg.registry).values() if isinstance(each, Registry)]
    classes = {found for registry in registries for found in registry.module_dict.values()}
    for found in filter(inspect.isclass, classes):
        if found.__module__.startswith("mmdrsl.") and "__init__" in vars(found):
            checked_arguments(found)


def check_value(name: str, value: Any, hint: Any) -> None:
    """Refuse a value of another kind than an annotation says.

    Args:
        name: Name of the entry, for the message.
        value: What was given.
        hint: The annotation.

    Raises:
        TypeError: It is of another kind.
        ValueError: It is NaN, or a negative count.
    """
    if not isinstance(value, _PLAIN):
        return
    choices = _choices(hint)
    if any(_is_of(value, choice) for choice in choices):
        for choice in choices:
            if _is_of(value, choice):
                _check_inside(name, value, choice)
                break
    else:
        kinds = " or ".join(dict.fromkeys(map(_title, choices)))
        raise TypeError(f"{name} is {value!r}, expected {kinds}.")
    if isinstance(value, float) and isnan(value):
        raise ValueError(f"{name} is {value!r}, expected a number.")
    is_count = int in choices and set(choices) <= {int, type(None)}
    if is_count and isinstance(value, int) and value < 0:
        raise ValueError(f"{name} is {value!r}, expected zero or more.")


def _check_inside(name: str, value: Any, choice: Any) -> None:
    """Check the elements of a sequence or a dictionary."""
    inner = typing.get_args(choice)
    if isinstance(value, Mapping) and len(inner) == 2:
        for key, entry in value.items():
            check_value(f"{name}[{key!r}]", entry, inner[1])
    elif isinstance(value, list | tuple) and inner:
        is_fixed = typing.get_origin(choice) is tuple and Ellipsis not in inner
        if is_fixed and len(value) != len(inner):
            raise ValueError(f"{name} is {value!r}, expected {len(inner)} entries.")
        for index, entry in enumerate(value):
            check_value(f"{name}[{index}]", entry, inner[index] if is_fixed else inner[0])


@functools.cache
def _hints(function: Any) -> dict[str, Any]:
    return typing.get_type_hints(function)


def _choices(hint: Any) -> tuple[Any, ...]:
    """The members of a union, else the annotation itself."""
    is_union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return typing.get_args(hint) if is_union else (hint,)


def _is_of(value: Any, choice: Any) -> bool:
    """Whether a plain value is of an annotated kind; of a kind that is not judged, it is."""
    if choice in _KINDS:
        is_bool = isinstance(value, bool)
        return isinstance(value, _KINDS[choice][0]) and (is_bool == (choice is bool))
    if choice is type(None):
        return value is None
    origin = typing.get_origin(choice) or choice
    if not inspect.isclass(origin):
        return True
    if issubclass(origin, Mapping):
        return isinstance(value, Mapping)
    if issubclass(origin, Sequence):
        return isinstance(value, list | tuple)
    return True


def _title(choice: Any) -> str:
    if choice in _KINDS:
        return _KINDS[choice][1]
    if choice is type(None):
        return "None"
    origin = typing.get_origin(choice) or choice
    return "a dictionary" if issubclass(origin, Mapping) else "a list"
