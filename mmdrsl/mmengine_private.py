"""What this project needs of MMEngine that MMEngine does not offer publicly; a new MMEngine is checked here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.config import utils as config_utils
from mmengine.dataset import BaseDataset
from mmengine.runner import IterBasedTrainLoop, Runner


def resolve_mmseg_bases() -> None:
    """Let ``_base_ = ['mmseg::...']`` find the installed MMSegmentation.

    onedl-mmengine looks for a distribution named ``mmsegmentation``, while the maintained one is named
    ``onedl-mmsegmentation``.
    """
    config_utils.MODULE2PACKAGE["mmseg"] = "onedl-mmsegmentation"


def has_training_loop(runner: Runner) -> bool:
    """Say whether a runner trains: `Runner.train_loop` would build the loop that it is asked for.

    Args:
        runner: The runner.

    Returns:
        False for a runner that only tests or validates.
    """
    return runner._train_loop is not None and not isinstance(runner._train_loop, dict)


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
