"""What runs around the models: hooks, optimizers, a backend of the visualizer and the start of a run."""

from . import hooks, mlflow_backend, optimizers

__all__ = ["hooks", "mlflow_backend", "optimizers"]
