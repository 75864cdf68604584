"""Pixels of every class in every label of a dataset, counted once and kept in a file."""

from __future__ import annotations

import hashlib
import os
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from mmengine.dist import broadcast_object_list, is_main_process
from tqdm import tqdm

from mmdrsl.atomic_files import replacing
from mmdrsl.datasets.label_counts import count_label


def class_pixel_index(
    infos: Sequence[Mapping[str, Any]],
    num_classes: int,
) -> npt.NDArray[np.int64]:
    """Count the pixels of each class in each label, or take the counts of an earlier start.

    The counts are kept in the folder for temporary files. That file is used only while every label has the path, size
    and time of change, and every id the meaning, that it was counted with. With several ranks the first counts and
    the others wait.

    Args:
        infos: What `count_label` needs, one per label.
        num_classes: Number of classes, C.

    Returns:
        Counts, shape (N, C), int64.

    Raises:
        FileNotFoundError: A label is missing.
        ValueError: A label is unreadable or holds unknown ids.
    """
    result: list[Any] = [None]
    if is_main_process():
        try:
            result[0] = _read_or_count(infos, num_classes)
        except (OSError, ValueError) as error:
            # Raised on every rank below: one rank alone would leave the others waiting.
            result[0] = error
    broadcast_object_list(result)
    if isinstance(result[0], Exception):
        raise result[0]
    return result[0]


def _read_or_count(
    infos: Sequence[Mapping[str, Any]],
    num_classes: int,
) -> npt.NDArray[np.int64]:
    fingerprint = _fingerprint(infos, num_classes)
    # Everybody has a file of their own where several share a machine.
    own = f"class_pixels_{os.getuid()}_{fingerprint[:24]}.npz"
    path = Path(tempfile.gettempdir(), own)
    counts = _read(path, fingerprint, (len(infos), num_classes))
    if counts is None:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            found = pool.map(lambda info: _count(info, num_classes), infos)
            bar = tqdm(found, desc="counting class pixels", total=len(infos), unit="label")
            counts = np.array(list(bar), dtype=np.int64).reshape(len(infos), num_classes)
        _write(path, counts, fingerprint)
    return counts


def _count(info: Mapping[str, Any], num_classes: int) -> npt.NDArray[np.int64]:
    counts = count_label(info, num_classes)
    if counts.unknown:
        raise ValueError(
            f"the label {info['seg_map_path']} holds unknown ids {sorted(counts.unknown)}: examine the data with "
            "tools/analysis_tools/check_dataset.py"
        )
    return counts.pixels[:num_classes]


def _fingerprint(infos: Sequence[Mapping[str, Any]], num_classes: int) -> str:
    """Hash of everything that the counts depend on."""
    digest = hashlib.sha256(f"{num_classes}".encode())
    for info in infos:
        path = info["seg_map_path"]
        if not Path(path).is_file():
            raise FileNotFoundError(f"no label {path}: restore it, or leave it out with ann_file")
        status = os.stat(path)
        lookup = info.get("label_lookup")
        meaning = lookup.tobytes() if lookup is not None else str(info.get("label_map")).encode()
        digest.update(f"{path}|{status.st_size}|{status.st_mtime_ns}|".encode() + meaning)
        digest.update(f"{info.get('reduce_zero_label')}|{info.get('label_channel')}\n".encode())
    return digest.hexdigest()


def _read(path: Path, fingerprint: str, shape: tuple[int, int]) -> npt.NDArray[np.int64] | None:
    """Counts of a file that fits, None where there is none or it is damaged or about other labels."""
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as content:
            counts, known = content["counts"], str(content["fingerprint"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return counts if known == fingerprint and counts.shape == shape else None


def _write(path: Path, counts: npt.NDArray[np.int64], fingerprint: str) -> None:
    """Write the file so that a reader never sees a part of it."""
    with replacing(path) as temporary, temporary.open("wb") as content:
        np.savez_compressed(content, counts=counts, fingerprint=np.array(fingerprint))
