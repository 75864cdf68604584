"""mmdrsl: unsupervised domain adaptation of semantic segmentation on MMSegmentation.

Importing the package registers its datasets, transforms, models, methods, metrics and hooks in MMSegmentation's own
registries, so that ``custom_imports = dict(imports=['mmdrsl'])`` is all that a stock config needs. After the import,
``_base_ = ['mmseg::...']`` finds MMSegmentation's configs, and MMEngine reads checkpoints without running code from
them, see `mmdrsl.checkpoints`.
"""

from .environment import check_environment

check_environment()

from .mmengine_private import resolve_mmseg_bases  # noqa: E402

resolve_mmseg_bases()

from . import datasets, engine, evaluation, methods, models, translation  # noqa: E402
from .argument_checks import check_registered  # noqa: E402
from .atomic_files import replacing  # noqa: E402
from .checkpoints import read_file  # noqa: E402
from .engine.guards import missing_guards  # noqa: E402
from .engine.run_checkpoint import load_into_run  # noqa: E402
from .mmengine_private import (  # noqa: E402
    complete_hooks,
    let_parts_be_left_out,
    make_parameter_groups_plain,
    replace_checkpoint_reading,
    write_checkpoints_whole,
)
from .models.backbones.remote_weights import download  # noqa: E402
from .renamed import register_old_types  # noqa: E402

let_parts_be_left_out()
complete_hooks(missing_guards)
make_parameter_groups_plain()
check_registered()
register_old_types()
replace_checkpoint_reading(read_file, load_into_run, download)
write_checkpoints_whole(replacing)

__version__ = "0.2.0"
__all__ = [
    "__version__",
    "datasets",
    "engine",
    "evaluation",
    "methods",
    "models",
    "translation",
]
