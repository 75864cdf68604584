"""Keeps out of the log what nobody reads: a line per parameter, the list of hooks, lines that repeat."""

from __future__ import annotations

import logging
from typing import ClassVar

from mmengine.logging import MMLogger

_DROPPED = (
    # One line per option of every parameter.
    "paramwise_options -- ",
    "Hooks will be executed in the following order",
    # About MMEngine's own code; its reader can do nothing.
    '"FileClient" will be deprecated',
    '"HardDiskBackend" is the alias',
    "The prefix is not set in metric class",
)
_ONCE = "Using env variable"


class FloodFilter(logging.Filter):
    """Drops such messages of MMEngine, and repeated ones on environment variables of configs."""

    _said: ClassVar[set[str]] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is written."""
        message = record.getMessage()
        if message.startswith(_ONCE):
            is_new = message not in self._said
            self._said.add(message)
            return is_new
        return not message.startswith(_DROPPED)


def filter_log() -> None:
    """Filter the present logger of MMEngine; a second call changes nothing."""
    logger = MMLogger.get_current_instance()
    if not any(isinstance(each, FloodFilter) for each in logger.filters):
        logger.addFilter(FloodFilter())
