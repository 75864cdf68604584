"""Writing sets of scenes in the folder layouts of GTA5 and Cityscapes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from mmdrsl.atomic_files import read_json, replacing, write_atomically
from mmdrsl.folder_lock import OF_ANY_FOLDER, written_alone
from mmdrsl.scenes.catalog import SUBTYPES, label_palette
from mmdrsl.scenes.render import Scene, render_scene
from mmdrsl.scenes.world import Look

#: Raised whenever the same seed would give other pictures than before.
GENERATOR_VERSION = 2
RECORD_NAME = "scenes.json"
_SUBTYPES_NAME = "subtypes.json"
_SPLIT_NUMBERS = {"game": 0, "train": 1, "val": 2}
_CITIES = {"train": ("adelby", "birkheim", "corlund"), "val": ("dornvik",)}
_COUNT_LIMIT = 99_999


@dataclass(frozen=True, kw_only=True)
class ScenePaths:
    """Where one scene goes, relative to the set's folder, and what it is drawn from."""

    look: Look
    seed: tuple[int, int, int]
    image: Path
    label: Path
    subtype: Path


def scene_paths(
    *, seed: int, num_game: int, num_camera_train: int, num_camera_val: int
) -> list[ScenePaths]:
    """Files and seeds of all scenes of a set.

    Args:
        seed: Seed of the set, zero or more.
        num_game: Number of game scenes.
        num_camera_train: Number of camera scenes for training.
        num_camera_val: Number of camera scenes for validation.

    Returns:
        One entry per scene. Its seed is ``(set, split, index)``, so that no two splits share one.
    """
    places = []
    for index in range(num_game):
        name = f"{index + 1:05d}.png"
        places.append(
            ScenePaths(
                look="game",
                seed=(seed, _SPLIT_NUMBERS["game"], index),
                image=Path("game", "images", name),
                label=Path("game", "labels", name),
                subtype=Path("game", "subtypes", name),
            )
        )
    for split, count in (("train", num_camera_train), ("val", num_camera_val)):
        for index in range(count):
            cities = _CITIES[split]
            city = cities[index * len(cities) // count]
            stem = f"{city}_{index + 1:06d}_000019"
            root = Path("camera")
            places.append(
                ScenePaths(
                    look="camera",
                    seed=(seed, _SPLIT_NUMBERS[split], index),
                    image=root / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png",
                    label=root / "gtFine" / split / city / f"{stem}_gtFine_labelIds.png",
                    subtype=root / "subtypes" / split / city / f"{stem}_subtypes.png",
                )
            )
    return places


def write_scenes(
    *,
    out_dir: str | Path,
    seed: int = 0,
    num_game: int = 160,
    num_camera_train: int = 160,
    num_camera_val: int = 60,
    image_size: tuple[int, int] = (256, 128),
    overwrite: bool = False,
    progress: bool = False,
) -> Path:
    """Render a set of scenes, unless the folder already holds this very set.

    Game scenes go to ``game/{images,labels}`` as in GTA5 (palette images of label ids), camera
    scenes to ``camera/{leftImg8bit,gtFine}/{train,val}/<city>`` as in Cityscapes (gray images of
    label ids), sub-type maps to ``{game,camera}/subtypes``, their names to ``subtypes.json``. The
    record ``scenes.json`` is written last: a folder without it holds an unfinished set, which is
    rendered again.

    Args:
        out_dir: Folder of the set; made if missing.
        seed: Seed of the set, zero or more.
        num_game: Number of game scenes, 1..99999.
        num_camera_train: Number of camera scenes for training, 1..99999.
        num_camera_val: Number of camera scenes for validation, 1..99999.
        image_size: Width and height in pixels.
        overwrite: Replace a set that was made with other parameters.
        progress: Show a progress bar.

    Returns:
        The set's folder.

    Raises:
        ValueError: If a parameter is out of range, or if the folder holds another set and
            ``overwrite`` is not given.
        FileExistsError: If the folder holds files that are no set of scenes.
        BlockingIOError: If another process is writing the folder.
        DiskFullError: If the disk is full.
    """
    counts = {
        "num_game": num_game,
        "num_camera_train": num_camera_train,
        "num_camera_val": num_camera_val,
    }
    _check_parameters(seed, counts)
    out_dir = Path(out_dir)
    record: dict[str, Any] = {
        "generator_version": GENERATOR_VERSION,
        "seed": seed,
        **counts,
        "image_size": list(image_size),
    }
    if _is_finished(out_dir, record, overwrite):
        return out_dir
    places = scene_paths(seed=seed, **counts)
    with written_alone(out_dir):
        _clear(out_dir)
        for scene in tqdm(places, desc="scenes", unit="image", disable=not progress):
            write_scene(out_dir, scene, render_scene(scene.seed, scene.look, image_size))
        _write_json(out_dir / _SUBTYPES_NAME, dict(_subtype_records()))
        _write_json(out_dir / RECORD_NAME, record)
    return out_dir


def _check_parameters(seed: int, counts: dict[str, int]) -> None:
    if seed < 0:
        raise ValueError(f"seed is {seed}, expected zero or more")
    for name, count in counts.items():
        if not 1 <= count <= _COUNT_LIMIT:
            raise ValueError(f"{name} is {count}, expected 1..{_COUNT_LIMIT}")


def _is_finished(out_dir: Path, record: dict[str, Any], overwrite: bool) -> bool:
    """Whether the folder holds the recorded set; an error if it holds another one."""
    record_file = out_dir / RECORD_NAME
    if not record_file.is_file():
        return False
    found = read_json(record_file, kind="record of scenes", remedy="Remove it to render again")
    if found == record:
        return True
    if not overwrite:
        raise ValueError(
            f"{out_dir} holds another set of scenes, made with {found}, expected {record}: "
            "take another folder, or let it be replaced (overwrite=True; make_scenes.py --overwrite)"
        )
    return False


def _clear(out_dir: Path) -> None:
    """Remove what an earlier set left; its record first, so that a rest counts as unfinished."""
    own = {"game", "camera", RECORD_NAME, _SUBTYPES_NAME} | OF_ANY_FOLDER
    foreign = sorted({item.name for item in out_dir.iterdir()} - own) if out_dir.is_dir() else []
    if foreign:
        raise FileExistsError(
            f"{out_dir} holds {foreign[:5]}, expected a new folder or one of this tool: "
            "take another folder"
        )
    (out_dir / RECORD_NAME).unlink(missing_ok=True)
    for name in ("game", "camera"):
        if (out_dir / name).is_dir():
            shutil.rmtree(out_dir / name)
    out_dir.mkdir(parents=True, exist_ok=True)


def write_scene(out_dir: Path, place: ScenePaths, scene: Scene) -> None:
    """Write picture, labels and sub-types of one scene.

    Args:
        out_dir: Folder of the set.
        place: Where they go.
        scene: The scene.
    """
    for relative in (place.image, place.label, place.subtype):
        (out_dir / relative).parent.mkdir(parents=True, exist_ok=True)
    _save(Image.fromarray(scene.image), out_dir / place.image)
    label = Image.fromarray(scene.label)
    if place.look == "game":
        # Putting a palette on a gray image keeps its indices, the label ids.
        label.putpalette(np.ascontiguousarray(label_palette()).tobytes())
    _save(label, out_dir / place.label)
    _save(Image.fromarray(scene.subtype), out_dir / place.subtype)


def _save(image: Image.Image, path: Path) -> None:
    with replacing(path) as temporary:
        image.save(temporary, "png")


def _subtype_records() -> Iterator[tuple[str, dict[str, str]]]:
    for number, (class_name, subtype) in enumerate(SUBTYPES, start=1):
        yield str(number), {"class": class_name, "subtype": subtype}


def _write_json(path: Path, content: dict[str, Any]) -> None:
    write_atomically(path, json.dumps(content, indent=2) + "\n")
