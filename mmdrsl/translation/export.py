"""Translates all images of a data set into a folder: resumable, split over ranks."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import barrier, get_dist_info
from tqdm import tqdm

from ..datasets.transforms.loading import LoadImage
from .functional import Picture
from .translated_folder import TranslatedFolder
from .translators import Translator


def choose_reference(sample_id: str, references: Sequence[str], seed: int) -> str:
    """Choose the target image that a translation borrows from: a function of name and seed.

    Args:
        sample_id: Name of the image.
        references: Names of the target images, at least one.
        seed: Seed of the choice, >= 0.

    Returns:
        One of `references`.
    """
    rng = np.random.default_rng([seed, zlib.crc32(sample_id.encode())])
    return references[int(rng.integers(len(references)))]


def translate_images(
    *,
    images: Mapping[str, Path],
    references: Mapping[str, Path],
    translator: Translator,
    out: Path,
    seed: int = 0,
    jpeg_quality: int | None = None,
) -> int:
    """Translate images into a folder; where it holds a part of them already, the rest.

    Every rank of a process group translates its share.

    Args:
        images: Image file by sample id.
        references: Target image file by sample id; may be empty where the translator needs none.
        translator: What translates.
        out: The folder, see `TranslatedFolder`.
        seed: Seed of the choice of references, >= 0.
        jpeg_quality: Write JPEG of this quality, 1..100; None writes PNG.

    Returns:
        Number of images that were there already.

    Raises:
        ValueError: The translator needs references and there is none, a translation has another size than its image,
            or the folder was made with other settings.
    """
    if translator.needs_reference and not references:
        raise ValueError(
            f"The translator {translator.settings} borrows from target images, found none; give a config with a target."
        )
    folder = TranslatedFolder(out)
    settings: dict[str, Any] = {**translator.settings, "jpeg_quality": jpeg_quality}
    if translator.needs_reference:
        settings["seed"] = seed
    rank, world_size = get_dist_info()
    if rank == 0:
        folder.begin(settings)
    barrier()
    finished = {name: entry for name, entry in folder.finished().items() if name in images}
    pending = sorted(set(images) - set(finished))
    # Nobody may write before all have read what is there.
    barrier()
    names = sorted(references)
    for name in tqdm(pending[rank::world_size], disable=rank != 0, desc="translating"):
        chosen = choose_reference(name, names, seed) if translator.needs_reference else None
        image = _load(images[name])
        picture = translator.translate(image, None if chosen is None else _load(references[chosen]))
        if picture.shape != image.shape:
            raise ValueError(
                f"{images[name]}: the translation has shape {picture.shape}, the image {image.shape}; labels would "
                "not fit."
            )
        folder.write(
            name,
            picture,
            source=images[name],
            reference=chosen,
            rank=rank,
            jpeg_quality=jpeg_quality,
        )
    barrier()
    if rank == 0:
        folder.finish(settings, {**finished, **_written(folder, pending)})
    barrier()
    return len(finished)


def _written(folder: TranslatedFolder, names: Sequence[str]) -> dict[str, Any]:
    """Entries of what this run wrote."""
    entries = folder.finished()
    lost = [name for name in names if name not in entries]
    if lost:
        raise ValueError(
            f"{len(lost)} translations in {folder.root} are not as they were written, for instance {lost[0]}: is the "
            "disk full?"
        )
    return {name: entries[name] for name in names}


def _load(path: Path) -> Picture:
    return LoadImage().transform({"img_path": str(path)})["img"]
