"""Video files as an unlabeled target."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.dist import barrier, is_main_process
from mmengine.logging import print_log
from mmseg.registry import DATASETS

from mmdrsl.datasets.unlabeled import UnlabelledDataset
from mmdrsl.datasets.validation import check_folder, find_images

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")
_RECORD = "frames.json"
_FRAMES = Path("work_dirs", "video_frames")
_FFMPEG_OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
_DAMAGED = (
    "cannot read the video {video} to its end: {number} frames were read, {reason}; it is cut short, damaged or of a "
    "codec that OpenCV lacks. Restore it, convert it, or leave it out (ann_file of a data set)"
)
_JPEG_QUALITY = 95


@DATASETS.register_module()
class VideoDataset(UnlabelledDataset):
    """Frames of the videos in a folder, sampled by OpenCV.

    Frames are written once, as JPEG, and read like any other images from then on: seeking in compressed video is slow
    and, with many codecs, inexact. A video that changed, or another `every`, is sampled again. With several ranks the
    first writes and the others wait.

    Args:
        every: Take every so many-th frame.
        frames_dir: Where the frames go; None takes ``work_dirs/video_frames/<name of the root>_<hash of its path>``.
            It may grow large.
        options: Arguments of `UnlabelledDataset`; ``img_suffix`` and ``ann_file`` concern the videos.

    Raises:
        FileNotFoundError: As `UnlabelledDataset`.
        OSError: If the frames cannot be written.
        ValueError: As `UnlabelledDataset`; if a video breaks off or is damaged, or ``every`` is below 1.
    """

    def __init__(self, *, every: int = 10, frames_dir: str | None = None, **options: Any) -> None:
        if every < 1:
            raise ValueError(f"every is {every}, expected 1 or more")
        self.every = every
        self.frames_dir = frames_dir
        super().__init__(**options)

    @property
    def image_suffixes(self) -> tuple[str, ...]:
        """Endings of the videos that are taken, upper and lower case alike."""
        return VIDEO_SUFFIXES if self.img_suffix is None else (self.img_suffix,)

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
        videos = find_images(folder, self.image_suffixes, self.ann_file)
        frames_dir = self.frames_dir or str(_usual_frames_dir(self.data_root))
        if is_main_process():
            print_log(
                f"The frames of the videos in {folder} are in {frames_dir}.", logger="current"
            )
            for video in videos:
                _sample_frames_or_say_where(
                    Path(folder, video), Path(frames_dir, video), self.every
                )
        barrier()
        names = [
            f"{video}/{name}"
            for video in videos
            for name in sorted(os.listdir(Path(frames_dir, video)))
            if name.endswith(".jpg")
        ]
        return frames_dir, names


def _usual_frames_dir(data_root: str) -> Path:
    root = Path(data_root).resolve()
    return _FRAMES / f"{root.name}_{hashlib.sha256(os.fsencode(root)).hexdigest()[:8]}"


def _sample_frames_or_say_where(video: Path, out_dir: Path, every: int) -> None:
    try:
        sample_frames(video, out_dir, every)
    except OSError as error:
        raise type(error)(
            f"cannot write the frames of {video} to {out_dir} ({error.strerror or error}): set frames_dir of the "
            "data set to a folder that can be written and has space"
        ) from error


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
    record = json.dumps({"every": every, "bytes": status.st_size, "changed": status.st_mtime_ns})
    known = out_dir / _RECORD
    # What is no record of ours is replaced, too.
    if known.is_file() and known.read_bytes() == record.encode():
        return
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out_dir.parent, prefix=".sampling_") as temporary:
        made = Path(temporary, "frames")
        made.mkdir()
        _write_frames(video, made, every)
        (made / _RECORD).write_text(record, encoding="utf-8")
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

    Containers announce a number of frames that need not be there: of a video with a variable frame rate they announce
    duration times rate, and of one that was cut without encoding also the frames before the cut. Such videos are read
    to their end, with a warning.

    Args:
        video: The video file.
        every: Distance of the frames, >= 1.

    Yields:
        Number of the frame, from 0, and the frame: blue, green, red, shape (H, W, 3), uint8.

    Raises:
        ValueError: The video cannot be read, breaks off, or has frames that cannot be decoded.
    """
    capture = cv2.VideoCapture(str(video))
    announced, rate = capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)
    number = 0
    while capture.grab():
        if number % every == 0:
            decoded, frame = capture.retrieve()
            if not decoded:
                raise ValueError(
                    _DAMAGED.format(video=video, number=number, reason="decoding fails")
                )
            yield number, frame
        number += 1
    capture.release()
    # Containers announce a frame or two more than some codecs deliver.
    if number == 0 or _lacks(number, announced):
        _check_early_end(video, number, announced, rate)


def _check_early_end(video: Path, number: int, announced: float, rate: float) -> None:
    """Tell a video with fewer frames than announced from one that breaks off or is damaged."""
    stored, end = _stored_frames(video)
    if number == 0 or _lacks(_decodable_frames(video), stored):
        reason = f"{stored} frames are stored, and some cannot be decoded"
        raise ValueError(_DAMAGED.format(video=video, number=number, reason=reason))
    if _lacks(stored, announced) and rate > 0 and _lacks(end * rate, announced):
        reason = f"{announced:.0f} frames in {announced / rate:.1f} s are announced"
        raise ValueError(_DAMAGED.format(video=video, number=number, reason=reason))
    print_log(
        f"{video} announces {announced:.0f} frames and has {number} up to its end: its frame rate varies, it was cut "
        "without encoding, or frames are missing",
        logger="current",
        level=logging.WARNING,
    )


def _lacks(found: float, expected: float) -> bool:
    """Whether more is missing than codecs and rounding explain; False where nothing is expected, as with NaN."""
    return found < 0.98 * expected - 2


def _stored_frames(video: Path) -> tuple[int, float]:
    """Number of encoded frames in the container, and the time of the last one in seconds."""
    # Format -1 delivers them as they are stored, without decoding.
    capture = _open_uncut(video, cv2.CAP_PROP_FORMAT, -1)
    number, end = 0, 0.0
    while capture.grab():
        number += 1
        end = max(end, capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
    return number, end


def _decodable_frames(video: Path) -> int:
    """Number of frames that can be decoded."""
    capture = _open_uncut(video)
    number = 0
    while capture.grab():
        number += 1
    return number


def _open_uncut(video: Path, *options: int) -> cv2.VideoCapture:
    """Open a video with the frames that a cut without encoding hides."""
    known = os.environ.get(_FFMPEG_OPTIONS)
    os.environ[_FFMPEG_OPTIONS] = "ignore_editlist;1"
    try:
        return cv2.VideoCapture(str(video), cv2.CAP_FFMPEG, list(options))
    finally:
        if known is None:
            del os.environ[_FFMPEG_OPTIONS]
        else:
            os.environ[_FFMPEG_OPTIONS] = known
