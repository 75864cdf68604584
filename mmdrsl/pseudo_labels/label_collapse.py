"""Says where a round's labels are not what training needs: hardly any, or none of a class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.dataset import BaseDataset

from mmdrsl.datasets.label_counts import count_label
from mmdrsl.pseudo_labels.artifact import RoundManifest

# Below this share of the wanted portion a coverage is far from it. Above it there is no such bound: a policy may keep
# all pixels of a class that it is sure of.
FAR = 0.5
NUM_LABELS = 100


def collapse_problems(
    manifest: RoundManifest, *, portion: float | None, source_classes: Sequence[str]
) -> list[str]:
    """What is wrong with the labels of a round, by their numbers alone.

    Args:
        manifest: Of the round.
        portion: Share of pixels that were to be labeled per predicted class; None where the policy takes none.
        source_classes: Names of the classes that the source shows.

    Returns:
        One sentence per problem, empty where there is none.
    """
    problems = []
    wanted = "" if portion is None else f", the portion is {portion:.0%}"
    if manifest.coverage < FAR * (portion or 0) or manifest.coverage == 0:
        problems.append(f"{manifest.coverage:.2%} of the pixels have a label{wanted}")
    without = [name for name in source_classes if manifest.kept_share.get(name, 0) == 0]
    if without:
        problems.append(
            f"{len(without)} of {len(source_classes)} classes of the source have no label: {', '.join(without)}"
        )
    return problems


def shown_classes(dataset: BaseDataset, *, num_labels: int = NUM_LABELS) -> list[str]:
    """Names of the classes that the labels of a dataset show.

    Args:
        dataset: The labeled dataset.
        num_labels: Labels to look at, at most, evenly spaced over the dataset.

    Returns:
        The names, in the order of the classes.
    """
    names = list(dataset.metainfo["classes"])
    total: Any = 0
    step = max(1, -(-len(dataset) // num_labels))
    for index in range(0, len(dataset), step):
        total = total + count_label(dataset.get_data_info(index), len(names)).pixels[: len(names)]
    return [name for name, pixels in zip(names, total, strict=True) if pixels > 0]
