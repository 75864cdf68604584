"""What runs around the models: hooks and the start of a run."""

from . import hooks

__all__ = ["hooks"]
