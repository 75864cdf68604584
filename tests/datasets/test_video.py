import os

import cv2
import numpy as np
import pytest

from mmdrsl.datasets.video import VideoDataset

PIPELINE = [{"type": "LoadImage"}, {"type": "LoadPseudoLabels"}, {"type": "PackSegInputs"}]
NUM_FRAMES = 23


def write_video(path, num_frames=NUM_FRAMES):
    """Gray frames whose brightness tells their number."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    assert writer.isOpened()
    for number in range(num_frames):
        writer.write(np.full((48, 64, 3), 10 * number, np.uint8))
    writer.release()


@pytest.fixture
def videos(tmp_path):
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
