"""Translates all images of a data set into a folder: resumable, split over ranks."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import all_gather_object, barrier, get_dist_info
from tqdm import tqdm

from mmdrsl.atomic_files import file_hash
from mmdrsl.datasets.transforms.loading import LoadImage
from mmdrsl.translation.functional import Picture
from mmdrsl.translation.translated_folder import TranslatedFolder, TranslatedImage
from mmdrsl.translation.translators import Translator


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

    Every rank of a process group translates its share. An image counts as translated while both its files are as they
    were; images of earlier calls with the same settings stay in the set.

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
            or the folder was made with other settings or for another target.
    """
    if translator.needs_reference and not references:
        raise ValueError(
            f"The translator {translator.settings} borrows from target images, found none; give a config with a target."
        )
    folder = TranslatedFolder(out)
    settings: dict[str, Any] = {**translator.settings, "jpeg_quality": jpeg_quality}
    rank, world_size = get_dist_info()
    if rank == 0:
        # The others never write settings, so they need not read all references.
        if translator.needs_reference:
            settings |= {"seed": seed, "references": _hash_of(references)}
        folder.begin(settings)
    barrier()
    recorded = folder.recorded()
    # Each rank looks at its share; nobody writes before all have read what is there.
    share = set(sorted(images)[rank::world_size])
    finished = _of_all_ranks(
        {
            name: entry
            for name, entry in recorded
            if name in share
            and folder.holds(entry)
            and file_hash(images[name]) == entry.source_sha256
        }
    )
    names = sorted(references)
    written = {}
    pending = sorted(set(images) - set(finished))
    for name in tqdm(pending[rank::world_size], disable=rank != 0, desc="translating"):
        chosen = choose_reference(name, names, seed) if translator.needs_reference else None
        image = _load(images[name])
        picture = translator.translate(image, None if chosen is None else _load(references[chosen]))
        if picture.shape != image.shape:
            raise ValueError(
                f"{images[name]}: the translation has shape {picture.shape}, the image {image.shape}; labels would "
                "not fit."
            )
        written[name] = folder.write(
            name,
            picture,
            source=images[name],
            reference=chosen,
            rank=rank,
            jpeg_quality=jpeg_quality,
        )
    written = _of_all_ranks(written)
    if rank == 0:
        # What another call made with the same settings stays in the set.
        others = {name: entry for name, entry in recorded if name not in images}
        folder.finish(settings, {**others, **finished, **written})
    barrier()
    return len(finished)


def _of_all_ranks(entries: dict[str, TranslatedImage]) -> dict[str, TranslatedImage]:
    return {name: entry for part in all_gather_object(entries) for name, entry in part.items()}


def _hash_of(references: Mapping[str, Path]) -> str:
    """One hash for names and files of all target images."""
    digest = hashlib.sha256()
    for name, path in sorted(references.items()):
        digest.update(f"{name} {file_hash(path)}\n".encode())
    return digest.hexdigest()


def _load(path: Path) -> Picture:
    return LoadImage().transform({"img_path": str(path)})["img"]
