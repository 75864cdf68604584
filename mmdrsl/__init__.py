"""mmdrsl: unsupervised domain adaptation of semantic segmentation on MMSegmentation.

Importing the package registers its datasets, transforms, models, methods, metrics and hooks in MMSegmentation's own
registries, so that ``custom_imports = dict(imports=['mmdrsl'])`` is all that a stock config needs.
"""

from .environment import check_environment

check_environment()

from . import datasets, engine, evaluation, methods, models, translation  # noqa: E402

__version__ = "0.1.0"
__all__ = [
    "__version__",
    "datasets",
    "engine",
    "evaluation",
    "methods",
    "models",
    "translation",
]
