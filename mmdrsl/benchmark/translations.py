"""The translated source of a run: taking it up, and saying what made it."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config

from mmdrsl.atomic_files import file_hash, read_json
from mmdrsl.translation.generator_translator import GENERATOR
from mmdrsl.translation.translated_folder import MANIFEST


def use_translations(cfg: Config, translations: Path | None) -> None:
    """Let the source be drawn from a translated set.

    Args:
        cfg: Config of a run, changed in place.
        translations: Folder of the set.

    Raises:
        ValueError: It is None.
    """
    if translations is None:
        raise ValueError(
            "translated source images are needed: give --translations DIR, made by tools/translate_dataset.py."
        )
    source = cfg.train_dataloader.dataset.source
    if source.type == "TranslatedDataset":
        source.translations = str(translations)
    else:
        cfg.train_dataloader.dataset.source = dict(
            type="TranslatedDataset", dataset=source, translations=str(translations)
        )


def manifest_hash(translations: Path) -> str:
    """Hash of a set's manifest, which has those of all its images; ``no manifest`` where there is none.

    Args:
        translations: Folder of the set.

    Returns:
        The hash.
    """
    manifest = translations / MANIFEST
    return file_hash(manifest) if manifest.is_file() else "no manifest"


def translator_name(translations: Path) -> str:
    """What made a translated set, as rows say it: the translator and the beginning of the manifest's hash.

    Args:
        translations: Folder of the set.

    Returns:
        For instance ``lab 0a1b2c3d``; the folder's name where it has no manifest.
    """
    manifest = translations / MANIFEST
    if not manifest.is_file():
        return translations.name
    remedy = f"Remove {translations} to translate again"
    content = read_json(manifest, kind="manifest of translated images", remedy=remedy)
    settings = content.get("settings")
    if not isinstance(settings, dict) or "translator" not in settings:
        raise ValueError(f"{manifest} names no translator in its settings. {remedy}.")
    colors = " colors" if settings.get("keep_lightness") else ""
    return f"{settings['translator']}{colors} {file_hash(manifest)[:8]}"


def check_trained_translator(method: str, translations: Path) -> None:
    """Refuse under CyCADA's name what a manifest says to come from another translator than a trained one.

    Args:
        method: The method, for the message.
        translations: Folder of the set; one without a manifest may come from anywhere.

    Raises:
        ValueError: The translator needed no training.
    """
    name = translator_name(translations)
    if (translations / MANIFEST).is_file() and not name.startswith(GENERATOR):
        raise ValueError(
            f"{method} takes the images of CyCADA's translator, {translations} was made by {name!r}. For those use "
            "--methods source_only --tricks translated_source."
        )
