from pathlib import Path

import cv2
import numpy as np
import pytest

from mmdrsl.inference import Input, OutputFolder, Prediction, Shares
from mmdrsl.inference.overlay_video import legend, replacing_video, video_length_and_rate

PALETTE = ((128, 64, 128), (0, 0, 142), (70, 130, 180))
CLASSES = ("road", "car", "sky")
IMAGES = [Input("sub/a", Path("a.png")), Input("b", Path("b.png"))]
VIDEO = Input("drive", Path("drive.mp4"))


def prediction(item):
    labels = np.arange(24, dtype=np.uint8).reshape(4, 6) % 3
    return Prediction(item, np.full((4, 6, 3), 100, np.uint8), labels, labels)


@pytest.fixture
def output(tmp_path):
    folder = OutputFolder(tmp_path / "out", palette=PALETTE)
    folder.begin(dict(teacher=False), IMAGES)
    for item in IMAGES:
        folder.write_image(prediction(item))
    return folder


def test_labels_are_read_as_they_were_written(output):
    np.testing.assert_array_equal(output.read_labels(IMAGES[0]), prediction(None).labels)
    assert not [path for path in output.root.rglob("*") if ".tmp" in path.name]


def test_complete_is_what_has_all_outputs(output):
    assert all(output.is_complete(item) for item in IMAGES)
    with_confidence = OutputFolder(output.root, palette=PALETTE, confidence=True)
    assert not with_confidence.is_complete(IMAGES[0])
    output.path(IMAGES[0], "color").unlink()
    assert [output.is_complete(item) for item in IMAGES] == [False, True]


def test_a_folder_that_no_prediction_made_is_left_alone(tmp_path):
    (tmp_path / "labels").mkdir()
    with pytest.raises(FileExistsError, match=r"holds labels and no settings.json"):
        OutputFolder(tmp_path, palette=PALETTE).begin({}, IMAGES, overwrite=True)


def test_settings_are_not_mixed(output):
    output.begin(dict(teacher=False), IMAGES[:1])
    other = dict(teacher=True)
    with pytest.raises(ValueError, match="of another checkpoint or of other options"):
        output.begin(other, IMAGES)
    # One image would keep its old outputs.
    with pytest.raises(ValueError, match="or remove this one"):
        output.begin(other, IMAGES[:1], overwrite=True)
    output.begin(other, [*IMAGES, VIDEO], overwrite=True)
    assert not any(output.is_complete(item) for item in IMAGES)


def test_overwriting_removes_the_outputs_of_its_inputs_alone(output):
    output.begin(dict(teacher=False), IMAGES[:1], overwrite=True)
    assert [output.is_complete(item) for item in IMAGES] == [False, True]


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
    with pytest.raises(ValueError, match="has the columns"):
        Shares(path, CLASSES[:2])


def test_a_legend_has_every_class():
    for width in (60, 240, 900):
        drawn = legend(CLASSES, PALETTE, width)
        assert drawn.shape[1] == width
        colors = {tuple(color) for color in drawn.reshape(-1, 3).tolist()}
        assert {color[::-1] for color in PALETTE} <= colors
    assert len(legend(CLASSES, PALETTE, 60)) == 3 * len(drawn)


def write(path, frames, error=None):
    with replacing_video(path, rate=12.5, classes=CLASSES, palette=PALETTE) as add:
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


def test_a_video_that_fails_leaves_nothing(tmp_path):
    frame = np.zeros((48, 64, 3), np.uint8)
    with pytest.raises(ValueError, match="damaged"):
        write(tmp_path / "drive.mp4", [frame], ValueError("damaged"))
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_no_video_is_named(tmp_path):
    (tmp_path / "drive.mp4").write_text("no video")
    with pytest.raises(ValueError, match=r"cannot open the video .*drive.mp4"):
        video_length_and_rate(tmp_path / "drive.mp4")
