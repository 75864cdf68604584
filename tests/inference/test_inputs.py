import os
from pathlib import Path

import pytest

from mmdrsl.inference import find_inputs, inputs


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a/1.png", "a/sub/2.JPG", "a/drive.mp4", "a/note.txt", "a/.hidden.png", "b/1.png"):
        path = Path("data", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def names(*given, out="out"):
    return [(item.name, item.is_video) for item in find_inputs(given, out=Path(out))]


def test_files_folders_and_patterns(folder):
    assert names("data/b/1.png") == [("1", False)]
    assert names("data/a") == [("1", False), ("drive", True), ("sub/2", False)]
    assert names("data/*/1.png") == [("a/1", False), ("b/1", False)]
    assert names("data/a/**/*.*") == [("1", False), ("drive", True), ("sub/2", False)]


def test_a_name_that_is_not_utf_8_is_refused(folder):
    Path("data/b", os.fsdecode(b"caf\xe9.png")).touch()
    with pytest.raises(ValueError, match=r"'data/b/caf\\udce9.png' is not UTF-8.*: rename"):
        find_inputs(["data/b"], out=Path("out"))


def test_an_input_that_is_given_twice_is_one(folder):
    assert names("data/a", "data/a/1.png", str(folder / "data/a")) == names("data/a")


def test_outputs_are_no_inputs(folder):
    Path("data/a/out/color").mkdir(parents=True)
    Path("data/a/out/color/1.png").touch()
    assert names("data/a", out="data/a/out") == [("1", False), ("drive", True), ("sub/2", False)]


@pytest.mark.parametrize("given", ["data/a", "data/a/**/*.*"])
def test_outputs_of_an_earlier_prediction_are_no_inputs(folder, given):
    made = Path("data/a/earlier/overlay/sub")
    made.mkdir(parents=True)
    (made / "2.jpg").touch()
    Path("data/a/earlier/settings.json").touch()
    # A folder that has its settings by chance.
    assert ("earlier/overlay/sub/2", False) in names(given)
    Path("data/a/earlier/.inputs").mkdir()
    assert names(given) == [("1", False), ("drive", True), ("sub/2", False)]
    assert names(given, out="data/a/earlier") == names(given)
    assert names("data/a/earlier/overlay") == [("sub/2", False)]


def test_outputs_that_are_left_out_are_counted(folder, monkeypatch):
    said = []
    monkeypatch.setattr(inputs, "print_log", lambda message, **_: said.append(message))
    for name in ("color/1.png", "overlay/1.jpg", "settings.json", ".inputs/1.json"):
        path = Path("data/b/earlier", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert names("data/b") == [("1", False)]
    assert names("data/b", out="data/b/earlier") == [("1", False)]
    (message,) = said
    assert message.startswith("2 files in data/b are not taken, since they are outputs")


@pytest.mark.parametrize(
    "given", [("data/a", "data/b"), ("data/a/1.png", "data/b/1.png"), ("data/a/1.*", "data/b")]
)
def test_equal_names_name_both_files(folder, given):
    with pytest.raises(
        ValueError,
        match=r"of data/a/1.png and data/b/1.png would both be named 1: .* a folder that holds both",
    ):
        find_inputs(given, out=Path("out"))


def test_an_image_and_a_video_of_one_name(folder):
    Path("data/b/1.avi").touch()
    with pytest.raises(
        ValueError,
        match=r"data/b/1.avi and data/b/1.png would both be named 1: predict them by two patterns, "
        r"'data/b/\*.avi' and 'data/b/\*.png', with two values of --out",
    ):
        find_inputs(["data/b"], out=Path("out"))


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ("gone.png", FileNotFoundError, "There is no file in gone.png"),
        ("data/*.png", FileNotFoundError, r"There is no file in data/\*.png"),
        ("data/a/note.txt", ValueError, "note.txt is neither an image nor a video"),
        ("data/a/note*", ValueError, "holds no image or video: expected files ending in .png"),
    ],
)
def test_what_is_no_input_is_named(folder, given, error, message):
    with pytest.raises(error, match=message):
        find_inputs([given], out=Path("out"))
