"""A proxy target: restyled game scenes under the camera's layout."""

import json

import numpy as np
import pytest
from PIL import Image

from mmdrsl.scenes.proxy_target import write_proxy_target
from mmdrsl.scenes.render import render_scene
from mmdrsl.scenes.writer import scene_paths, write_scenes

COUNTS = dict(num_game=2, num_camera_train=3, num_camera_val=2)


@pytest.fixture
def scenes(tmp_path):
    return write_scenes(out_dir=tmp_path / "scenes", seed=4, image_size=(64, 32), **COUNTS)


def read(path):
    return np.array(Image.open(path))


def test_labels_are_the_games_and_pictures_carry_the_cameras_look(scenes, tmp_path):
    out = write_proxy_target(out_dir=tmp_path / "out", scenes=scenes, seed=9)
    places = [place for place in scene_paths(seed=9, **COUNTS) if place.look == "camera"]
    assert len(places) == 5
    for place in places:
        plain = render_scene(place.seed, "game", (64, 32))
        assert (read(out / place.label) == plain.label).all()
        image = read(out / place.image)
        assert image.shape == plain.image.shape
        assert (image != plain.image).mean() > 0.5
    for name in ("images/00001.png", "labels/00002.png"):
        assert (out / "game" / name).read_bytes() == (scenes / "game" / name).read_bytes()
    assert json.loads((out / "scenes.json").read_text())["proxy_target_of"] == 4


def test_it_is_a_function_of_its_seed_and_never_reads_the_cameras_labels(scenes, tmp_path):
    first = write_proxy_target(out_dir=tmp_path / "first", scenes=scenes, seed=9)
    for label in (scenes / "camera/gtFine").rglob("*.png"):
        label.unlink()
    for image in (scenes / "camera/leftImg8bit/val").rglob("*.png"):
        image.unlink()
    second = write_proxy_target(out_dir=tmp_path / "second", scenes=scenes, seed=9)
    for path in first.rglob("*.png"):
        assert path.read_bytes() == (second / path.relative_to(first)).read_bytes()


def test_a_part_is_shown_enlarged(scenes, tmp_path):
    whole = write_proxy_target(out_dir=tmp_path / "whole", scenes=scenes, seed=9)
    half = write_proxy_target(out_dir=tmp_path / "half", scenes=scenes, seed=9, shown=0.5)
    for path in (whole / "camera").rglob("*.png"):
        before, after = read(path), read(half / path.relative_to(whole))
        part = before[16:, 16:48]
        if "leftImg8bit" in str(path):
            assert after.shape == before.shape
            means = after.reshape(16, 2, 32, 2, 3).mean((1, 3))
            assert np.abs(means - part).mean() < 12
        else:
            np.testing.assert_array_equal(after, part.repeat(2, axis=0).repeat(2, axis=1))
    for path in (whole / "game").rglob("*.png"):
        assert path.read_bytes() == (half / path.relative_to(whole)).read_bytes()


def test_wrong_folders_are_named(scenes, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"make_scenes\.py"):
        write_proxy_target(out_dir=tmp_path / "out", scenes=tmp_path / "nothing")
    with pytest.raises(FileExistsError, match="not empty"):
        write_proxy_target(out_dir=scenes, scenes=scenes)
    with pytest.raises(ValueError, match="shown is 0, expected a share"):
        write_proxy_target(out_dir=tmp_path / "out", scenes=scenes, shown=0)
    with pytest.raises(ValueError, match="fresh scenes"):
        write_proxy_target(out_dir=tmp_path / "out", scenes=scenes, seed=4)
