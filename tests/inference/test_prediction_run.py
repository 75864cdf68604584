from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from network_files import write_video

from mmdrsl.atomic_files import file_hash
from mmdrsl.inference import Input, OutputFolder, Prediction, PredictionRun, settings_of
from mmdrsl.inference.prediction_run import ahead

PALETTE = ((128, 64, 128), (0, 0, 142), (70, 130, 180))


def test_checkpoints_are_told_apart_by_file_or_address(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.pth").write_bytes(b"weights")
    cfg = Config(dict(model=dict(type="A"), test_pipeline=[dict(type="LoadImage")]))
    given = ["~/a.pth", tmp_path / "a.pth", "https://a.org/a.pth", "https://a.org/b.pth"]
    hashes = [settings_of(cfg, checkpoint, {})["checkpoint"] for checkpoint in given]
    assert hashes[0] == hashes[1] == file_hash(tmp_path / "a.pth")
    assert len(set(hashes)) == 3


def test_work_ahead_is_bounded_and_in_order():
    taken = []

    def items():
        for number in range(20):
            taken.append(number)
            yield number

    with ThreadPoolExecutor(3) as pool:
        results = ahead(pool, lambda number: number**2, items(), depth=4)
        assert next(results) == 0
        assert len(taken) == 5
        assert list(results) == [number**2 for number in range(1, 20)]


def test_errors_of_the_work_are_raised_in_their_place():
    with ThreadPoolExecutor(2) as pool:
        results = ahead(pool, lambda number: 1 // number, [1, 0, 1], depth=2)
        assert next(results) == 1
        with pytest.raises(ZeroDivisionError):
            next(results)


class Brightness:
    """Predicts class 0 for dark images, 1 for bright ones; notes what it loads."""

    def __init__(self):
        self.network = SimpleNamespace(classes=("dark", "bright", "never"), palette=PALETTE)
        self.loaded = []

    def load(self, key, source):
        self.loaded.append(getattr(key, "name", key))
        image = source if isinstance(source, np.ndarray) else cv2.imread(str(source))
        if image is None:
            raise ValueError(f"cannot decode the image {source}")
        return key, image

    def predict(self, images, *, batch_size, confidence=False):
        for key, image in images:
            labels = (image[..., 0] > 127).astype(np.uint8)
            yield Prediction(key, image, labels, labels if confidence else None)


@pytest.fixture
def inputs(tmp_path):
    found = []
    for name, value in (("a", 0), ("b", 255), ("c", 0)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((16, 24, 3), value, np.uint8))
        found.append(Input(name, tmp_path / f"{name}.png"))
    frames = [np.full((48, 64, 3), value, np.uint8) for value in (0, 255, 255)]
    write_video(tmp_path / "drive.avi", frames)
    return [*found, Input("drive", tmp_path / "drive.avi")]


def run(inputs, out, **options):
    """Predict into a folder; return what was loaded, and the lines of the shares."""
    output = OutputFolder(out, palette=PALETTE)
    output.begin({}, inputs, **options)
    predictor = Brightness()
    try:
        PredictionRun(predictor=predictor, output=output).run(inputs)
    finally:
        lines = (out / "shares.csv").read_text().splitlines()[1:]
    return sorted(map(str, predictor.loaded)), [line.split(",")[:4] for line in lines]


OTHERS = (("a", "png"), ("drive", "avi"))
ALL = [
    ["a", "", "1.000000", "0.000000"],
    ["b", "", "0.000000", "1.000000"],
    ["c", "", "1.000000", "0.000000"],
    *(["drive", str(n), f"{1 - min(n, 1)}.000000", f"{min(n, 1)}.000000"] for n in range(3)),
]


def test_a_damaged_image_leaves_what_is_before_it_and_the_next_run_continues(inputs, tmp_path):
    good = inputs[2].path.read_bytes()
    inputs[2].path.write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"cannot decode the image .*c.png"):
        run(inputs, tmp_path / "out")
    inputs[2].path.write_bytes(good)
    done = {path.stem for path in (tmp_path / "out/labels").iterdir()}
    loaded, shares = run(inputs, tmp_path / "out")
    assert loaded == sorted(({"a", "b", "c"} - done) | {"0", "1", "2"})
    assert shares == ALL
    assert run(inputs, tmp_path / "out") == ([], ALL)


def test_another_image_and_another_video_of_the_same_name(inputs, tmp_path):
    run(inputs, tmp_path / "out")
    (tmp_path / "others").mkdir()
    cv2.imwrite(str(tmp_path / "others/a.png"), np.full((16, 24, 3), 255, np.uint8))
    write_video(tmp_path / "others/drive.avi", [np.zeros((48, 64, 3), np.uint8)])
    others = [Input(name, tmp_path / "others" / f"{name}.{end}") for name, end in OTHERS]
    for other in others:
        with pytest.raises(ValueError, match=f"holds the prediction of .*, not of {other.path}"):
            run([other], tmp_path / "out")
    loaded, shares = run(others, tmp_path / "out", overwrite=True)
    assert loaded == ["0", "a"]
    # Of the longer video no frame is left.
    assert shares == [["a", "", "0.000000", "1.000000"], *ALL[1:4]]
    assert run([*others, *inputs[1:3]], tmp_path / "out") == ([], shares)


def test_a_video_that_is_cut_short_is_no_output(inputs, tmp_path):
    video = inputs[-1].path
    write_video(video, [np.full((48, 64, 3), 10 * number, np.uint8) for number in range(24)])
    video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"drive\.avi"):
        run(inputs, tmp_path / "out")
    assert len(list((tmp_path / "out/labels").iterdir())) == 3
    assert not (tmp_path / "out/overlay/drive.mp4").exists()


def test_a_video_that_fails_leaves_no_shares(inputs, tmp_path, monkeypatch):
    def frames(video):
        for number in range(40):
            yield number, np.zeros((48, 64, 3), np.uint8)
        raise ValueError(f"cannot read {video} to its end")

    monkeypatch.setattr("mmdrsl.inference.prediction_run.read_frames", frames)
    with pytest.raises(ValueError, match=r"drive.avi to its end"):
        run(inputs, tmp_path / "out")
    rows = (tmp_path / "out/shares.csv").read_text().splitlines()[1:]
    assert [row.split(",")[0] for row in rows] == ["a", "b", "c"]


def test_lost_shares_come_from_the_label_maps(inputs, tmp_path):
    run(inputs, tmp_path / "out")
    (tmp_path / "out/shares.csv").unlink()
    # A video has no label maps.
    assert run(inputs, tmp_path / "out") == (["0", "1", "2"], ALL)
