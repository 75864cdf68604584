"""Folder layouts, records and re-use of written sets."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmdrsl.scenes.catalog import LABEL_IDS, SUBTYPES
from mmdrsl.scenes.render import render_scene
from mmdrsl.scenes.writer import scene_paths, write_scenes

PARAMETERS = {
    "seed": 4,
    "num_game": 3,
    "num_camera_train": 4,
    "num_camera_val": 2,
    "image_size": (64, 32),
}
TOOL = Path(__file__).parents[2] / "tools" / "dataset_converters" / "make_scenes.py"


@pytest.fixture
def folder(tmp_path):
    return write_scenes(out_dir=tmp_path / "scenes", **PARAMETERS)


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_layout(folder):
    found = files(folder)
    names = ["00001.png", "00002.png", "00003.png"]
    for part in ("images", "labels", "subtypes"):
        assert {f"game/{part}/{name}" for name in names} <= found
    for split, count in (("train", 4), ("val", 2)):
        root = folder / "camera"
        images = sorted((root / "leftImg8bit" / split).glob("*/*_leftImg8bit.png"))
        assert len(images) == count
        for image in images:
            city, stem = image.parent.name, image.name.removesuffix("_leftImg8bit.png")
            assert stem.startswith(f"{city}_00000")
            assert stem.endswith("_000019")
            assert (root / "gtFine" / split / city / f"{stem}_gtFine_labelIds.png").is_file()
            assert (root / "subtypes" / split / city / f"{stem}_subtypes.png").is_file()
    assert len(found) == 3 * 9 + 2


def test_files_hold_the_rendered_scene(folder):
    for place in scene_paths(seed=4, num_game=3, num_camera_train=4, num_camera_val=2):
        scene = render_scene(place.seed, place.look, (64, 32))
        assert np.array_equal(np.array(Image.open(folder / place.image)), scene.image)
        assert np.array_equal(np.array(Image.open(folder / place.label)), scene.label)
        assert np.array_equal(np.array(Image.open(folder / place.subtype)), scene.subtype)


def test_label_files_are_palette_and_gray_images_of_ids(folder):
    game = Image.open(folder / "game" / "labels" / "00001.png")
    assert game.mode == "P"
    road = LABEL_IDS["road"]
    assert road in np.unique(np.array(game))
    assert game.getpalette()[3 * road : 3 * road + 3] == [128, 64, 128]
    camera = next((folder / "camera" / "gtFine").rglob("*.png"))
    assert Image.open(camera).mode == "L"
    for label in (folder / "game" / "labels").iterdir():
        assert set(np.unique(np.array(Image.open(label)))) <= set(LABEL_IDS.values())


def test_records(folder):
    record = json.loads((folder / "scenes.json").read_text())
    assert record["seed"] == 4
    assert record["num_camera_val"] == 2
    assert record["image_size"] == [64, 32]
    assert record["generator_version"] >= 1
    names = json.loads((folder / "subtypes.json").read_text())
    assert len(names) == len(SUBTYPES)
    assert all(
        SUBTYPES[int(number) - 1] == (entry["class"], entry["subtype"])
        for number, entry in names.items()
    )


def test_splits_share_no_scene(folder):
    places = scene_paths(seed=0, num_game=160, num_camera_train=120, num_camera_val=60)
    assert len({place.seed for place in places}) == len({place.image for place in places}) == 340
    labels = [path.read_bytes() for path in folder.rglob("*_labelIds.png")]
    assert len(set(labels)) == 6


def test_scenes_do_not_depend_on_the_counts(folder, tmp_path):
    more = {**PARAMETERS, "num_game": 5, "num_camera_val": 3}
    other = write_scenes(out_dir=tmp_path / "more", **more)
    name = "game/images/00003.png"
    assert (folder / name).read_bytes() == (other / name).read_bytes()


def test_finished_set_is_kept(folder):
    image = folder / "game" / "images" / "00001.png"
    image.write_bytes(b"mark")
    assert write_scenes(out_dir=folder, **PARAMETERS) == folder
    assert image.read_bytes() == b"mark"


def test_unfinished_set_is_rendered_again(folder):
    image = folder / "game" / "images" / "00001.png"
    good = image.read_bytes()
    image.write_bytes(b"half")
    (folder / "game" / "images" / "00009.png").write_bytes(b"rest of a larger set")
    (folder / "scenes.json").unlink()
    write_scenes(out_dir=folder, **PARAMETERS)
    assert image.read_bytes() == good
    assert not (folder / "game" / "images" / "00009.png").exists()
    assert (folder / "scenes.json").is_file()


def test_record_is_written_last(tmp_path, monkeypatch):
    calls = []

    def failing(seed, look, image_size):
        calls.append(seed)
        if len(calls) > 2:
            raise KeyboardInterrupt
        return render_scene(seed, look, image_size)

    monkeypatch.setattr("mmdrsl.scenes.writer.render_scene", failing)
    with pytest.raises(KeyboardInterrupt):
        write_scenes(out_dir=tmp_path / "scenes", **PARAMETERS)
    assert (tmp_path / "scenes" / "game" / "images" / "00001.png").is_file()
    assert not (tmp_path / "scenes" / "scenes.json").exists()


def test_other_set_is_an_error_unless_overwritten(folder):
    other = {**PARAMETERS, "seed": 5, "num_game": 2}
    before = (folder / "game" / "images" / "00001.png").read_bytes()
    with pytest.raises(ValueError, match="overwrite=True"):
        write_scenes(out_dir=folder, **other)
    assert (folder / "game" / "images" / "00001.png").read_bytes() == before
    write_scenes(out_dir=folder, overwrite=True, **other)
    assert (folder / "game" / "images" / "00001.png").read_bytes() != before
    assert not (folder / "game" / "images" / "00003.png").exists()


def test_foreign_files_are_never_removed(tmp_path):
    (tmp_path / "thesis.txt").write_text("dear")
    (tmp_path / "game").mkdir()
    with pytest.raises(FileExistsError, match=r"thesis\.txt"):
        write_scenes(out_dir=tmp_path, overwrite=True, **PARAMETERS)
    assert (tmp_path / "thesis.txt").is_file()
    assert (tmp_path / "game").is_dir()


@pytest.mark.parametrize(
    ("name", "value"), [("num_game", 0), ("num_camera_val", 100_000), ("seed", -1)]
)
def test_parameters_out_of_range(tmp_path, name, value):
    with pytest.raises(ValueError, match=name):
        write_scenes(out_dir=tmp_path, **{**PARAMETERS, name: value})


def test_tool(tmp_path, monkeypatch, capsys):
    options = "--seed 2 --num-game 2 --num-camera-train 1 --num-camera-val 1 --size 64 32"
    command = [TOOL.name, "--out", str(tmp_path / "set"), *options.split()]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as done:
        runpy.run_path(str(TOOL), run_name="__main__")
    assert done.value.code == 0
    assert "4/4" in capsys.readouterr().err
    assert json.loads((tmp_path / "set" / "scenes.json").read_text())["num_game"] == 2
    monkeypatch.setattr(sys, "argv", [*command, "--seed", "3"])
    with pytest.raises(SystemExit) as again:
        runpy.run_path(str(TOOL), run_name="__main__")
    assert again.value.code == 1
    assert "overwrite" in capsys.readouterr().err
