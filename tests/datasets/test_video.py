import logging
import os
import struct

import cv2
import numpy as np
import pytest
from mmengine.logging import MMLogger

from mmdrsl.datasets.video import VideoDataset, read_frames

PIPELINE = [{"type": "LoadImage"}, {"type": "LoadPseudoLabels"}, {"type": "PackSegInputs"}]
NUM_FRAMES = 23


def write_video(path, num_frames=NUM_FRAMES, codec="MJPG"):
    """Gray frames whose brightness tells their number."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 10, (64, 48))
    assert writer.isOpened()
    for number in range(num_frames):
        writer.write(np.full((48, 64, 3), 10 * number % 256, np.uint8))
    writer.release()


@pytest.fixture
def videos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "videos/sub").mkdir(parents=True)
    write_video(tmp_path / "videos/sub/b.avi")
    write_video(tmp_path / "videos/a.avi", num_frames=6)
    return tmp_path / "videos"


def brightness(dataset):
    return {
        dataset.get_data_info(index)["sample_id"]: float(dataset[index]["inputs"].float().mean())
        for index in range(len(dataset))
    }


def test_frames_are_sampled(videos):
    found = brightness(VideoDataset(data_root=str(videos), every=5, pipeline=PIPELINE))
    expected = {"a.avi/000000": 0, "a.avi/000005": 50}
    expected |= {f"sub/b.avi/{number:06d}": 10 * number for number in (0, 5, 10, 15, 20)}
    assert list(found) == list(expected)
    assert found == pytest.approx(expected, abs=3)


def test_frames_are_kept_until_video_or_rate_change(videos, tmp_path):
    options = dict(data_root=str(videos), frames_dir=str(tmp_path / "frames"), pipeline=PIPELINE)
    first = VideoDataset(every=10, **options)
    path = tmp_path / "frames/sub/b.avi/000010.jpg"
    made = path.stat().st_mtime_ns
    assert len(VideoDataset(every=10, **options)) == len(first) == 4
    assert path.stat().st_mtime_ns == made
    assert len(VideoDataset(every=2, **options)) == 15
    write_video(videos / "a.avi", num_frames=9)
    os.utime(videos / "a.avi", (1, 1))
    assert len(VideoDataset(every=2, **options)) == 17
    assert not list((tmp_path / "frames").rglob(".sampling_*"))
    assert not (videos / "frames").exists()


def test_damaged_videos_are_named(videos):
    path = videos / "sub/b.avi"
    data = path.read_bytes()
    for damaged in (data[: len(data) // 3], b"text", b""):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"cannot read the video .*b\.avi to its end"):
            VideoDataset(data_root=str(videos))
    with pytest.raises(ValueError, match="every is 0"):
        VideoDataset(data_root=str(videos), every=0)
    path.unlink()
    (videos / "a.avi").unlink()
    with pytest.raises(ValueError, match="no image in"):
        VideoDataset(data_root=str(videos))


def test_frames_stay_out_of_the_data(videos, tmp_path):
    before = sorted(videos.rglob("*"))
    dataset = VideoDataset(data_root=str(videos))
    assert sorted(videos.rglob("*")) == before
    path = dataset.get_data_info(0)["img_path"]
    assert path.startswith("work_dirs/video_frames/videos_")
    # Another folder of that name does not share them.
    (tmp_path / "other").mkdir()
    videos.rename(tmp_path / "other/videos")
    moved = VideoDataset(data_root=str(tmp_path / "other/videos"))
    assert moved.get_data_info(0)["img_path"].split("/")[:3] != path.split("/")[:3]
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"cannot write the frames of .*a\.avi .*: set frames_dir"):
        VideoDataset(data_root=str(tmp_path / "other/videos"), frames_dir=str(tmp_path / "file"))


def element(identity, *parts):
    """An element of a Matroska file, with its size in eight bytes."""
    content = b"".join(parts)
    return bytes.fromhex(identity) + struct.pack(">Q", len(content) | 1 << 56) + content


def write_matroska(path, times, *, milliseconds):
    """JPEG frames at the given times in milliseconds, 20 per second as announced."""
    frames = [
        cv2.imencode(".jpg", np.full((48, 64, 3), 5 * n, np.uint8))[1] for n in range(len(times))
    ]
    size = element("b0", bytes([64])) + element("ba", bytes([48]))
    track = element(
        "ae",
        *(element("d7", b"\1"), element("73c5", b"\1"), element("83", b"\1")),
        *(element("86", b"V_MJPEG"), element("23e383", struct.pack(">I", 50_000_000))),
        element("e0", size),
    )
    clusters = [
        element(
            "1f43b675",
            element("e7", struct.pack(">I", time)),
            element("a3", b"\x81\0\0\x80", frame.tobytes()),
        )
        for time, frame in zip(times, frames, strict=True)
    ]
    duration = element("4489", struct.pack(">d", milliseconds))
    info = element("1549a966", element("2ad7b1", struct.pack(">I", 1_000_000)), duration)
    segment = element("18538067", info, element("1654ae6b", track), *clusters)
    path.write_bytes(element("1a45dfa3", element("4282", b"matroska")) + segment)


def warnings_of(call):
    """What the log warns of, beside what the call returns."""
    records = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = records.append
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    try:
        return call(), [record.getMessage() for record in records]
    finally:
        logger.removeHandler(handler)


def numbers(path):
    return [number for number, _ in read_frames(path)]


def test_variable_frame_rate(tmp_path):
    path = tmp_path / "screen.mkv"
    times = [*range(0, 500, 50), *range(1000, 12_000, 2000)]
    write_matroska(path, times, milliseconds=11_050)
    assert cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FRAME_COUNT) > 200
    found, warnings = warnings_of(lambda: numbers(path))
    assert found == list(range(16))
    assert len(warnings) == 1
    assert "screen.mkv announces 221 frames and has 16 up to its end" in warnings[0]
    # The same, but for the end of the file.
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(
        ValueError, match=r"screen\.mkv to its end: 10 frames were read, 221 frames"
    ):
        numbers(path)


def test_cut_without_encoding(tmp_path):
    """An edit list leaves frames out that the file must keep for those after the cut."""
    path = tmp_path / "cut.mp4"
    write_video(path, 40, codec="mp4v")
    whole, warnings = warnings_of(lambda: numbers(path))
    assert (len(whole), warnings) == (40, [])
    data = bytearray(path.read_bytes())
    table = data.index(b"elst") + 12
    duration, start = struct.unpack(">Ii", data[table : table + 8])
    assert start == 0
    scale = data.index(b"mdhd") + 16
    ticks = struct.unpack(">I", data[scale : scale + 4])[0]
    data[table : table + 8] = struct.pack(">Ii", duration * 3 // 4, ticks)
    path.write_bytes(data)
    known = os.environ.get("OPENCV_FFMPEG_CAPTURE_OPTIONS")
    found, warnings = warnings_of(lambda: numbers(path))
    assert len(found) == 30
    assert "announces 40 frames and has 30 up to its end" in warnings[0]
    assert os.environ.get("OPENCV_FFMPEG_CAPTURE_OPTIONS") == known


def test_frames_that_cannot_be_decoded(tmp_path):
    path = tmp_path / "damaged.mp4"
    write_video(path, 40, codec="mp4v")
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 4
    middle = start + (data.index(b"moov") - start) // 3
    data[middle : data.index(b"moov") - 4] = bytes(data.index(b"moov") - 4 - middle)
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"damaged\.mp4 .* 40 frames are stored, and some cannot"):
        numbers(path)
