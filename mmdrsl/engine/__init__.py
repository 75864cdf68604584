"""What runs around the models: hooks, optimizers and the start of a run."""

from . import hooks, optimizers

__all__ = ["hooks", "optimizers"]
