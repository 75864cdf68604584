"""What this project needs of MMEngine that MMEngine does not offer publicly; a new MMEngine is checked here."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from mmengine.config import utils as config_utils
from mmengine.dataset import BaseDataset
from mmengine.hooks import Hook
from mmengine.model import ImgDataPreprocessor
from mmengine.optim import OptimWrapperDict
from mmengine.runner import IterBasedTrainLoop, Runner
from mmengine.runner import checkpoint as checkpoint_module
from mmengine.runner import runner as runner_module
from torch import Tensor

RUNNER_HOOKS = frozenset(
    {"runtime_info", "timer", "sampler_seed", "logger", "param_scheduler", "checkpoint"}
)
"""Hooks that the Runner has by itself; None in ``default_hooks`` switches one off."""


def resolve_mmseg_bases() -> None:
    """Let ``_base_ = ['mmseg::...']`` find the installed MMSegmentation.

    onedl-mmengine looks for a distribution named ``mmsegmentation``, while the maintained one is named
    ``onedl-mmsegmentation``. By the module's own name it finds either. docs/upstream/mmengine.patch is the same for all
    packages, as a change of MMEngine.
    """
    config_utils.MODULE2PACKAGE["mmseg"] = "mmseg"


def let_parts_be_left_out() -> None:
    """Let `Runner.from_cfg` take a config without data to validate or to test on, and with hooks that are None.

    MMEngine wants loader, evaluator and loop to be there or None together, and a base config brings all three. In
    training nobody may have labels of the target, so that to name no data is to want no evaluation. Hooks of a base
    config that are None are left out, as MMEngine does with its own alone.
    """
    build = Runner.from_cfg.__func__

    @functools.wraps(build)
    def from_cfg(cls: type[Runner], cfg: Any) -> Runner:
        return build(cls, without_idle_hooks(without_idle_evaluation(cfg)))

    Runner.from_cfg = classmethod(from_cfg)


def without_idle_evaluation(cfg: Any) -> Any:
    """Take evaluator and loop out of a config where they have no data.

    Args:
        cfg: Config of a run; it stays as it is.

    Returns:
        The config, or a copy in which loader, evaluator and loop of the part without data are None.
    """
    for part in ("val", "test"):
        keys = [f"{part}_{name}" for name in ("dataloader", "evaluator", "cfg")]
        # `_delete_=True` alone leaves an empty entry.
        if not cfg.get(keys[0]) and any(cfg.get(key) is not None for key in keys):
            cfg = copy.deepcopy(cfg)
            for key in keys:
                cfg[key] = None
    return cfg


def without_idle_hooks(cfg: Any) -> Any:
    """Take hooks that are None out of a config's ``default_hooks``.

    Args:
        cfg: Config of a run; it stays as it is.

    Returns:
        The config, or a copy without them. Those of `RUNNER_HOOKS` stay None.
    """
    hooks = cfg.get("default_hooks") or {}
    idle = [name for name, hook in hooks.items() if hook is None and name not in RUNNER_HOOKS]
    if idle:
        cfg = copy.deepcopy(cfg)
        for name in idle:
            del cfg.default_hooks[name]
    return cfg


def complete_hooks(missing: Callable[[Runner], list[Hook]]) -> None:
    """Give every run the hooks that it lacks.

    Args:
        missing: Builds what a run lacks.
    """
    register = Runner.register_hooks

    @functools.wraps(register)
    def register_hooks(self: Runner, *args: Any, **options: Any) -> None:
        register(self, *args, **options)
        for hook in missing(self):
            self.register_hook(hook)

    Runner.register_hooks = register_hooks


def make_parameter_groups_plain() -> None:
    """Let the optimizer of every run have plain dictionaries as groups of parameters.

    MMEngine makes them of `ConfigDict`, at which ``torch.compile`` ends in an internal error (PyTorch 2.14).
    """
    build = Runner.build_optim_wrapper

    @functools.wraps(build)
    def build_optim_wrapper(self: Runner, *args: Any, **options: Any) -> Any:
        built = build(self, *args, **options)
        for wrapper in built.values() if isinstance(built, OptimWrapperDict) else [built]:
            groups = wrapper.optimizer.param_groups
            groups[:] = [dict(group) for group in groups]
        return built

    Runner.build_optim_wrapper = build_optim_wrapper


def has_training_loop(runner: Runner) -> bool:
    """Say whether a runner trains: `Runner.train_loop` would build the loop that it is asked for.

    Args:
        runner: The runner.

    Returns:
        False for a runner that only tests or validates.
    """
    return built_loop(runner, "train") is not None


def built_loop(runner: Runner, name: str) -> Any:
    """A loop of a runner, where it is built; ``Runner.train_loop`` would build it.

    Args:
        runner: The runner.
        name: ``train``, ``val`` or ``test``.

    Returns:
        The loop; None where there is none, or only its config.
    """
    loop = getattr(runner, f"_{name}_loop")
    return None if isinstance(loop, dict) else loop


def replace_checkpoint_reading(
    read: Callable[[Any, Any], Any],
    load: Callable[..., dict[str, Any]],
    download: Callable[[str, str | None], Path],
) -> None:
    """Let MMEngine, and what stands on it, read files of ``torch.save`` and load checkpoints by other functions.

    Its own reader goes on with ``weights_only=False`` where a file holds code. Files that it downloads are read by that
    reader, too.

    Args:
        read: Reads a path or an open file onto a device.
        load: Takes the place of ``Runner.load_checkpoint``.
        download: Gives the file of a URL; the second argument is the folder to keep it in, or None.
    """

    def read_file(file: Any, map_location: Any = None, weights_only: bool | None = None) -> Any:
        return read(file, map_location)

    def read_url(url: str, model_dir: str | None = None, map_location: Any = None, **_: Any) -> Any:
        return read(download(url, model_dir), map_location)

    checkpoint_module._safe_torch_load = read_file
    checkpoint_module.load_url = read_url
    Runner.load_checkpoint = load


def write_checkpoints_whole(
    replacing: Callable[[Path], AbstractContextManager[Path]],
) -> None:
    """Let the Runner's checkpoints, those of ``save_best`` too, take their names only when they are complete.

    MMEngine writes under the final name, where a full disk or a kill leaves a part of a file.

    Args:
        replacing: Gives a temporary name beside a file, which takes the file's place after the block.
    """
    save = runner_module.save_checkpoint

    @functools.wraps(save)
    def save_whole(checkpoint: dict[str, Any], filename: str, *args: Any, **options: Any) -> None:
        if "://" in str(filename) or any(options.values()):
            # A remote place of MMEngine's file clients.
            save(checkpoint, filename, *args, **options)
            return
        with replacing(Path(filename)) as temporary:
            save(checkpoint, str(temporary), *args, **options)

    runner_module.save_checkpoint = save_whole


@contextmanager
def counted_as(loop: IterBasedTrainLoop, iteration: int) -> Iterator[None]:
    """Let ``runner.iter`` be a step's end while its ``after_train_iter`` hooks run.

    MMEngine counts a step after its hooks, so that a validation among them would be recorded under the step before.

    Args:
        loop: The training loop.
        iteration: The number of steps that are finished.

    Yields:
        Nothing; on leaving, the loop's own count is back.
    """
    counted = loop._iter
    loop._iter = iteration
    try:
        yield
    finally:
        loop._iter = counted


def of_subset(dataset: BaseDataset, entries: list[dict]) -> list[dict]:
    """Keep of a dataset's entries those that its ``indices`` keep, without reading the dataset in.

    Args:
        dataset: The dataset.
        entries: One entry per image of the whole dataset, in its order.

    Returns:
        The entries of the subset.
    """
    indices = dataset._indices
    if isinstance(indices, int):
        return entries[:indices] if indices >= 0 else entries[indices:]
    return entries if indices is None else [entries[index] for index in indices]


def colors_of(preprocessor: ImgDataPreprocessor, image: Tensor) -> Tensor:
    """Undo what a preprocessor of BGR images does to their colors.

    Args:
        preprocessor: The preprocessor.
        image: Normalized image, shape (3, H, W).

    Returns:
        RGB, shape (3, H, W), uint8.
    """
    if preprocessor._enable_normalize:
        image = image * preprocessor.std + preprocessor.mean
    image = image.clamp(0, 255).round().byte()
    return image if preprocessor._channel_conversion else image.flip(0)
