import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmdrsl.inference import Input, OutputFolder, Prediction, Shares
from mmdrsl.inference.overlay_video import legend, replacing_video, video_length_and_rate

PALETTE = ((128, 64, 128), (0, 0, 142), (70, 130, 180))
CLASSES = ("road", "car", "sky")
NAMES = ("sub/a", "b")
SETTINGS = dict(teacher=False)


def prediction(item):
    labels = np.arange(24, dtype=np.uint8).reshape(4, 6) % 3
    return Prediction(item, np.full((4, 6, 3), 100, np.uint8), labels, labels)


def make_input(root, name, content="image"):
    path = Path(root, Path(name).name)
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    return Input(str(Path(name).with_suffix("")), path)


def output_of(folder, labels):
    """Write an image with these labels in place of the last one."""
    item = Input(NAMES[1], Path("unused"))
    folder.write_image(Prediction(item, np.zeros((*labels.shape, 3), np.uint8), labels, None))
    return item


@pytest.fixture
def images(tmp_path):
    return [make_input(tmp_path / "images", f"{name}.png") for name in NAMES]


@pytest.fixture
def output(images, tmp_path):
    folder = OutputFolder(tmp_path / "out", palette=PALETTE)
    folder.begin(SETTINGS, images)
    for item in images:
        folder.write_image(prediction(item))
    return folder


def test_labels_are_read_as_they_were_written(output, images):
    np.testing.assert_array_equal(output.read_labels(images[0]), prediction(None).labels)
    assert not [path for path in output.root.rglob("*") if ".tmp" in path.name]


def test_colors_of_areas_take_little_space(output):
    labels = np.repeat(np.repeat(np.arange(32, dtype=np.uint8).reshape(4, 8) % 3, 32, 0), 32, 1)
    item = output_of(output, labels)
    path = output.path(item, "color")
    drawn = cv2.imread(str(path))
    np.testing.assert_array_equal(drawn[..., ::-1], np.array(PALETTE, np.uint8)[labels])
    assert path.stat().st_size < drawn.size / 20


def test_complete_is_what_has_all_outputs(output, images):
    assert all(output.is_complete(item) for item in images)
    with_confidence = OutputFolder(output.root, palette=PALETTE, confidence=True)
    with_confidence.begin(SETTINGS, images)
    assert not with_confidence.is_complete(images[0])
    output.path(images[0], "color").unlink()
    assert [output.is_complete(item) for item in images] == [False, True]


def test_a_folder_that_no_prediction_made_is_left_alone(images, tmp_path):
    (tmp_path / "labels").mkdir()
    with pytest.raises(FileExistsError, match=r"holds labels and no settings.json"):
        OutputFolder(tmp_path, palette=PALETTE).begin({}, images, overwrite=True)


def test_what_a_killed_run_was_writing_is_removed(output, images):
    left = [
        ".shares.csv.12-34.tmp",
        "labels/sub/.a.png.12-34.tmp",
        ".inputs/.b.json.12-34.tmp",
        "overlay/sub/.video_abc/drive.mp4",
    ]
    other = output.root / "another/.iter_10.pth.12-34.tmp"
    for path in (*(output.root / name for name in left), other):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    output.begin(SETTINGS, images)
    assert all(map(output.is_complete, images))
    assert [path for path in output.root.rglob(".*") if path.name != ".inputs"] == [other]


def test_settings_are_not_mixed(output, images, tmp_path):
    output.begin(SETTINGS, images[:1])
    other = dict(teacher=True)
    with pytest.raises(ValueError, match="of another checkpoint or of other options"):
        output.begin(other, images)
    # One image would keep its old outputs.
    with pytest.raises(ValueError, match="or remove this one"):
        output.begin(other, images[:1], overwrite=True)
    output.begin(other, [*images, make_input(tmp_path / "images", "drive.mp4")], overwrite=True)
    assert not any(output.is_complete(item) for item in images)


def test_overwriting_by_a_network_of_other_classes_begins_new_shares(output, images):
    def note(classes):
        shares = Shares(output.shares_path, classes)
        shares.add(images[0].name, np.array([[0]], np.uint8))
        shares.save()

    note(CLASSES)
    output.begin(SETTINGS, images, overwrite=True)
    assert output.shares_path.is_file()
    output.begin(dict(teacher=True), images, overwrite=True)
    note(CLASSES[:2])


def test_overwriting_removes_the_outputs_of_its_inputs_alone(output, images):
    output.begin(SETTINGS, images[:1], overwrite=True)
    output.begin(SETTINGS, images)
    assert [output.is_complete(item) for item in images] == [False, True]


@pytest.mark.parametrize("ending", ["png", "mp4"])
def test_outputs_of_another_file_are_refused(output, images, tmp_path, ending):
    other = make_input(tmp_path / "others", f"b.{ending}")
    old, new = (str(item.path) for item in (images[1], other))
    with pytest.raises(ValueError, match=r"b: .*out holds the prediction of .*, not of") as error:
        output.begin(SETTINGS, [images[0], other])
    assert str(error.value).endswith(
        f"{old}, not of {new}: choose another folder for --out, or give --overwrite."
    )
    output.begin(SETTINGS, images)
    assert all(map(output.is_complete, images))
    output.begin(SETTINGS, [other], overwrite=True)
    assert not output.path(images[1], "labels").exists()
    assert not output.is_complete(other)


def test_outputs_of_an_image_that_changed_are_refused(output, images):
    path = images[1].path
    status = path.stat()
    path.write_text("another image")
    with pytest.raises(ValueError, match=r"b: .*b.png changed since .*out got its prediction"):
        output.begin(SETTINGS, images)
    path.write_text("image")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    with pytest.raises(ValueError, match="choose another folder for --out, or give --overwrite"):
        output.begin(SETTINGS, images)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    output.begin(SETTINGS, images)
    assert all(map(output.is_complete, images))


def test_outputs_without_a_record_are_made_again(output, images):
    def is_complete_again():
        output.begin(SETTINGS, images)
        return [output.is_complete(item) for item in images]

    (record,) = output.root.glob(".inputs/b.json")
    record.write_text("")
    assert is_complete_again() == [True, False]

    def interrupt():
        with output.recording(images[0]):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert is_complete_again() == [False, False]
    for item in images:
        output.write_image(prediction(item))
    assert is_complete_again() == [True, True]


def test_a_record_whose_outputs_were_removed_does_not_count(output, images, tmp_path):
    for folder in output.root.glob("[a-z]*/"):
        if folder.is_dir():
            shutil.rmtree(folder)
    other = make_input(tmp_path / "others", "b.png")
    output.begin(SETTINGS, [other])
    output.write_image(prediction(other))
    assert output.is_complete(other)


@pytest.mark.parametrize("content", ["", "[1]", '{"editor.fontSize": 12}', "\udcff"])
def test_settings_of_another_origin_are_left_alone(images, tmp_path, content):
    marker = tmp_path / "settings.json"
    marker.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(ValueError, match=r"settings.json is not of a prediction: choose another"):
        OutputFolder(tmp_path, palette=PALETTE).begin(SETTINGS, images, overwrite=True)
    assert marker.read_bytes() == content.encode(errors="surrogateescape")


def test_shares(tmp_path):
    path = tmp_path / "shares.csv"
    shares = Shares(path, CLASSES)
    shares.add("b, 1", np.array([[0, 0, 1, 0]], np.uint8))
    shares.add("a", np.array([[2]], np.uint8), frame=10)
    shares.save()
    again = Shares(path, CLASSES)
    assert "b, 1" in again
    assert "c" not in again
    again.add("a", np.array([[1]], np.uint8), frame=0)
    again.save()
    assert path.read_text().splitlines() == [
        "name,frame,road,car,sky",
        "a,0,0.000000,1.000000,0.000000",
        "a,10,0.000000,0.000000,1.000000",
        '"b, 1",,0.750000,0.250000,0.000000',
    ]
    again.discard({"a", "unknown"})
    assert [line[:6] for line in path.read_text().splitlines()[1:]] == ['"b, 1"']
    with pytest.raises(ValueError, match="has the columns"):
        Shares(path, CLASSES[:2])


def test_a_legend_has_every_class():
    for width in (60, 240, 900):
        drawn = legend(CLASSES, PALETTE, width)
        assert drawn.shape[1] == width
        colors = {tuple(color) for color in drawn.reshape(-1, 3).tolist()}
        assert {color[::-1] for color in PALETTE} <= colors
    assert len(legend(CLASSES, PALETTE, 60)) == 3 * len(drawn)


def write(path, frames, error=None, rate=12.5):
    with replacing_video(path, rate=rate, classes=CLASSES, palette=PALETTE) as add:
        for frame in frames:
            add(frame)
        if error is not None:
            raise error


def test_a_video_of_odd_size(tmp_path):
    path = tmp_path / "sub/drive.mp4"
    write(path, [np.full((47, 63, 3), 60 * number, np.uint8) for number in range(4)])
    assert video_length_and_rate(path) == (4, 12.5)
    capture = cv2.VideoCapture(str(path))
    first, second = (capture.read()[1] for _ in range(2))
    assert first.shape[1] == 64
    assert np.abs(second[:40, :60].astype(int) - 60).mean() < 6
    assert [file.name for file in path.parent.iterdir()] == ["drive.mp4"]


@pytest.mark.parametrize(
    ("rate", "written"),
    [(66.667, 66.67), (100.1234, 100.12), (700.123, 700.1), (29.97002997, 29.97), (1000, 1000)],
)
def test_a_rate_that_the_codec_cannot_hold_is_rounded(tmp_path, rate, written):
    write(tmp_path / "drive.mp4", [np.zeros((48, 64, 3), np.uint8)] * 2, rate=rate)
    assert video_length_and_rate(tmp_path / "drive.mp4") == (2, pytest.approx(written, abs=1e-4))


@pytest.mark.parametrize("rate", [0.0004, 0.0, np.nan, 1e6])
def test_a_rate_that_makes_no_sense_becomes_the_usual_one(monkeypatch, rate):
    class Capture:
        def __init__(self, path):
            self.announced = {cv2.CAP_PROP_FRAME_COUNT: 3, cv2.CAP_PROP_FPS: rate}
            self.get = self.announced.get

        def isOpened(self):  # noqa: N802 - OpenCV's name
            return True

        def release(self):
            pass

    monkeypatch.setattr(cv2, "VideoCapture", Capture)
    assert video_length_and_rate(Path("drive.mp4")) == (3, 25)


def test_frames_that_change_their_size_are_refused(tmp_path):
    frames = [np.zeros((48, width, 3), np.uint8) for width in (64, 32)]
    with pytest.raises(ValueError, match=r"drive.mp4: .* change size from 64x48 to 32x48"):
        write(tmp_path / "drive.mp4", frames)


def test_a_video_that_fails_leaves_nothing(tmp_path):
    frame = np.zeros((48, 64, 3), np.uint8)
    with pytest.raises(ValueError, match="damaged"):
        write(tmp_path / "drive.mp4", [frame], ValueError("damaged"))
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_no_video_is_named(tmp_path):
    (tmp_path / "drive.mp4").write_text("no video")
    with pytest.raises(ValueError, match=r"cannot open the video .*drive.mp4"):
        video_length_and_rate(tmp_path / "drive.mp4")
