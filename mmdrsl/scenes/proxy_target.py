"""A proxy target that is made from the source side, so that methods are chosen without target labels."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from tqdm import tqdm

from mmdrsl.atomic_files import read_json, write_atomically
from mmdrsl.scenes.looks import compressed
from mmdrsl.scenes.render import Scene, render_scene
from mmdrsl.scenes.writer import RECORD_NAME, scene_paths, write_scene
from mmdrsl.translation.functional import match_lab_statistics, swap_low_amplitudes

_LOW_FREQUENCIES = 0.012


def proxy_target_look(
    image: np.ndarray, reference: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """A game's picture with the colors of a camera's picture, out of focus, noisy and compressed.

    Color statistics (Reinhard et al. 2001) and the lowest amplitudes (Yang and Soatto 2020) come from the reference;
    the rest is this project's own.

    Args:
        image: Game picture, (H, W, 3), uint8.
        reference: Unlabeled target picture, of any size.
        rng: Source of randomness; advanced.

    Returns:
        Array (H, W, 3), uint8.
    """
    styled = match_lab_statistics(image, reference)
    light = swap_low_amplitudes(styled, reference, _LOW_FREQUENCIES).astype(np.float32)
    blurred = cv2.GaussianBlur(light, (0, 0), rng.uniform(0.5, 1.0) * image.shape[1] / 256)
    noisy = blurred + rng.normal(0, rng.uniform(4, 14), light.shape)
    exposed = 255 * np.clip(noisy / 255, 0, 1) ** rng.uniform(0.7, 1.5)
    return compressed(np.round(exposed).astype(np.uint8), int(rng.integers(40, 80)))


def check_proxy_target(*, out_dir: Path, shown: float) -> None:
    """Refuse what no proxy target can be written with.

    Args:
        out_dir: Folder of the new set.
        shown: Share of the sides that its images show.

    Raises:
        FileExistsError: The folder exists and is not empty.
        ValueError: `shown` is outside [0.1, 1].
    """
    if not 0.1 <= shown <= 1:
        raise ValueError(f"shown is {shown}, expected a share of the sides in [0.1, 1]")
    if out_dir.exists() and any(out_dir.iterdir()):
        raise FileExistsError(f"{out_dir} is not empty: take a new folder")


def lower_middle(scene: Scene, share: float) -> Scene:
    """The lower middle part of a scene at the scene's size: less sky and building, more road and vehicles.

    Args:
        scene: The scene.
        share: Share of width and height that stays, in (0, 1].

    Returns:
        A scene of the same size.
    """
    height, width = scene.label.shape
    rows, columns = round(height * share), round(width * share)
    left = (width - columns) // 2

    def enlarged(array: np.ndarray, interpolation: int) -> np.ndarray:
        part = array[height - rows :, left : left + columns]
        return cv2.resize(part, (width, height), interpolation=interpolation)

    return Scene(
        image=enlarged(scene.image, cv2.INTER_LINEAR),
        label=enlarged(scene.label, cv2.INTER_NEAREST),
        subtype=enlarged(scene.subtype, cv2.INTER_NEAREST),
    )


def write_proxy_target(
    *,
    out_dir: str | Path,
    scenes: str | Path,
    seed: int = 50,
    shown: float = 1.0,
    progress: bool = False,
) -> Path:
    """Write a set whose game scenes are those of another set and whose "camera" scenes are restyled game scenes.

    The restyled scenes are fresh draws of the game world; only the unlabeled training pictures of the camera lend them
    their look. Their labels belong to the source side: scores on them may choose a method, its factors, its schedule.

    Args:
        out_dir: New folder of the set.
        scenes: Folder of a set written by `write_scenes`.
        seed: Seed of the fresh scenes, other than that of the set.
        shown: Share of the sides that the restyled scenes show, see `lower_middle`, in [0.1, 1]; below 1 the shares
            of the classes and the sizes of things differ between the domains, and pictures are softer.
        progress: Show a progress bar.

    Returns:
        The set's folder.

    Raises:
        FileNotFoundError: `scenes` holds no finished set.
        FileExistsError: The folder exists and is not empty.
        ValueError: The seed is that of the set, or `shown` is out of its range.
    """
    out_dir, scenes = Path(out_dir), Path(scenes)
    check_proxy_target(out_dir=out_dir, shown=shown)
    if not (scenes / RECORD_NAME).is_file():
        raise FileNotFoundError(
            f"{scenes} holds no {RECORD_NAME}: write a set there first, by tools/dataset_converters/make_scenes.py"
        )
    record = read_json(scenes / RECORD_NAME, kind="record of scenes", remedy="Render them again")
    if record["seed"] == seed:
        raise ValueError(f"seed is {seed}, that of {scenes}; expected another, for fresh scenes")
    places = scene_paths(
        seed=seed,
        num_game=record["num_game"],
        num_camera_train=record["num_camera_train"],
        num_camera_val=record["num_camera_val"],
    )
    references = sorted((scenes / "camera/leftImg8bit/train").rglob("*.png"))
    shutil.copytree(scenes / "game", out_dir / "game")
    width, height = record["image_size"]
    camera = [place for place in places if place.look == "camera"]
    for place in tqdm(camera, desc="proxy target", unit="image", disable=not progress):
        rng = np.random.default_rng([*place.seed, 99])
        reference = np.array(Image.open(references[rng.integers(len(references))]))
        scene = render_scene(place.seed, "game", (width, height))
        image = proxy_target_look(scene.image, reference, rng)
        scene = lower_middle(dataclasses.replace(scene, image=image), shown)
        write_scene(out_dir, place, scene)
    shutil.copy(scenes / "subtypes.json", out_dir / "subtypes.json")
    record = {**record, "seed": seed, "proxy_target_of": record["seed"], "shown": shown}
    write_atomically(out_dir / RECORD_NAME, json.dumps(record, indent=1))
    return out_dir
