"""Video files as an unlabeled target."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.dist import barrier, is_main_process
from mmseg.registry import DATASETS

from mmdrsl.datasets.unlabeled import UnlabelledDataset
from mmdrsl.datasets.validation import check_folder, find_images

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")
_RECORD = "frames.json"
_JPEG_QUALITY = 95


@DATASETS.register_module()
class VideoDataset(UnlabelledDataset):
    """Frames of the videos in a folder, sampled by OpenCV.

    Frames are written once, as JPEG, and read like any other images from then on: seeking in compressed video is slow
    and, with many codecs, inexact. A video that changed, or another `every`, is sampled again. With several ranks the
    first writes and the others wait.

    Args:
        every: Take every so many-th frame.
        frames_dir: Where the frames go; None takes ``frames`` below the root. It may grow large.
        options: Arguments of `UnlabelledDataset`; ``img_suffix`` and ``ann_file`` concern the videos.

    Raises:
        FileNotFoundError: As `UnlabelledDataset`.
        ValueError: As `UnlabelledDataset`; if a video cannot be read to its end, or ``every`` is below 1.
    """

    def __init__(self, *, every: int = 10, frames_dir: str | None = None, **options: Any) -> None:
        if every < 1:
            raise ValueError(f"every is {every}, expected 1 or more")
        self.every = every
        self.frames_dir = frames_dir
        super().__init__(**options)

    def find_files(self) -> tuple[str, list[str]]:
        """Sample the videos where that is still to be done, and list the frames.

        Returns:
            Folder of the frames, and their paths relative to it.

        Raises:
            FileNotFoundError: As the class.
            ValueError: As the class.
        """
        folder = self.data_prefix["img_path"]
        check_folder(folder, "data_prefix['img_path']")
        suffixes = VIDEO_SUFFIXES if self.img_suffix is None else (self.img_suffix,)
        videos = find_images(folder, suffixes, self.ann_file)
        frames_dir = self.frames_dir or os.path.join(self.data_root, "frames")
        if is_main_process():
            for video in videos:
                sample_frames(Path(folder, video), Path(frames_dir, video), self.every)
        barrier()
        names = [
            f"{video}/{path.name}"
            for video in videos
            for path in sorted(Path(frames_dir, video).glob("*.jpg"))
        ]
        return frames_dir, names


def sample_frames(video: Path, out_dir: Path, every: int) -> None:
    """Write every so many-th frame of a video, unless that was done before.

    Args:
        video: The video file.
        out_dir: Folder of the frames, named by their number; appears at once and complete.
        every: Distance of the frames.

    Raises:
        ValueError: The video cannot be read to its end.
    """
    status = video.stat()
    record = {"every": every, "bytes": status.st_size, "changed": status.st_mtime_ns}
    known = out_dir / _RECORD
    if known.is_file() and json.loads(known.read_text(encoding="utf-8")) == record:
        return
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out_dir.parent, prefix=".sampling_") as temporary:
        made = Path(temporary, "frames")
        made.mkdir()
        _write_frames(video, made, every)
        (made / _RECORD).write_text(json.dumps(record), encoding="utf-8")
        if out_dir.exists():
            shutil.rmtree(out_dir)
        os.replace(made, out_dir)


def _write_frames(video: Path, folder: Path, every: int) -> None:
    for number, frame in read_frames(video, every=every):
        quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
        if not cv2.imwrite(str(folder / f"{number:06d}.jpg"), frame, quality):
            raise OSError(f"cannot write frames to {folder}: give frames_dir a folder with space")


def read_frames(video: Path, *, every: int = 1) -> Iterator[tuple[int, np.ndarray]]:
    """Decode a video from its beginning, one frame in memory at a time.

    Args:
        video: The video file.
        every: Distance of the frames, >= 1.

    Yields:
        Number of the frame, from 0, and the frame: blue, green, red, shape (H, W, 3), uint8.

    Raises:
        ValueError: The video cannot be read to its end.
    """
    capture = cv2.VideoCapture(str(video))
    announced = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    number = 0
    while capture.grab():
        if number % every == 0:
            decoded, frame = capture.retrieve()
            if not decoded:
                break
            yield number, frame
        number += 1
    capture.release()
    # Containers announce a frame or two more than some codecs deliver.
    if number == 0 or number < 0.98 * announced - 2:
        raise ValueError(
            f"cannot read the video {video} to its end: {number} of {announced} frames; it is cut short, damaged "
            "or of a codec that OpenCV lacks. Restore it, convert it, or leave it out (ann_file of a data set)"
        )
