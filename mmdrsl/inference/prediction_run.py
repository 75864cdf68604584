"""A run over many inputs: loading, prediction and writing side by side, with progress, resumable."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from mmengine.config import Config
from tqdm import tqdm

from mmdrsl.atomic_files import file_hash
from mmdrsl.datasets.video import read_frames
from mmdrsl.inference.image_loading import LoadedImage, pipeline_of
from mmdrsl.inference.inputs import Input
from mmdrsl.inference.outputs import OutputFolder, color_bgr, overlay
from mmdrsl.inference.overlay_video import replacing_video, video_length_and_rate
from mmdrsl.inference.predictor import Prediction, Predictor
from mmdrsl.inference.shares import Shares

Given = TypeVar("Given")
Made = TypeVar("Made")
_THREADS = min(8, os.cpu_count() or 1)


def ahead(
    pool: Executor, function: Callable[[Given], Made], items: Iterable[Given], *, depth: int
) -> Iterator[Made]:
    """Apply a function in threads, at most `depth` items ahead of what is taken, so that memory stays bounded.

    Args:
        pool: The threads.
        function: What is done with an item.
        items: The items.
        depth: Number of items, >= 1.

    Yields:
        Results in the order of the items; an error of the function is raised here.
    """
    pending: deque[Future[Made]] = deque()
    for item in items:
        pending.append(pool.submit(function, item))
        if len(pending) > depth:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def settings_of(cfg: Config, checkpoint: str | Path, options: dict) -> dict[str, Any]:
    """Everything that labels depend on beside the images, as plain types of JSON.

    Args:
        cfg: The config.
        checkpoint: The checkpoint, as `read_checkpoint` takes it.
        options: Network, augmentation and windows by name.

    Returns:
        Options, hash of the checkpoint's file or address, hash of the config's model and test pipeline.
    """
    tta = bool(options.get("tta"))
    described = f"{Config(dict(model=cfg.model, pipeline=pipeline_of(cfg, tta=tta))).to_dict()}"
    return {
        "checkpoint": _checkpoint_hash(str(checkpoint)),
        "config": hashlib.sha256(described.encode()).hexdigest(),
        **options,
    }


def _checkpoint_hash(checkpoint: str) -> str:
    if "://" in checkpoint:
        return hashlib.sha256(checkpoint.encode()).hexdigest()
    return file_hash(Path(checkpoint).expanduser())


class PredictionRun:
    """Predicts inputs into a folder.

    Args:
        predictor: What predicts.
        output: Where the outputs go; it has begun.
        batch_size: Most images per pass of the network.
        confidence: Whether to write the confidence of images.
    """

    def __init__(
        self,
        *,
        predictor: Predictor,
        output: OutputFolder,
        batch_size: int = 1,
        confidence: bool = False,
    ) -> None:
        self.predictor = predictor
        self.output = output
        self.batch_size = batch_size
        self.confidence = confidence
        self.shares = Shares(output.shares_path, predictor.network.classes)

    def run(self, inputs: Sequence[Input]) -> int:
        """Predict what is not complete; an interruption leaves complete outputs and their shares.

        Args:
            inputs: Images and videos.

        Returns:
            Number of inputs that were complete.

        Raises:
            FileNotFoundError: An image is gone.
            OSError: The disk is full or refuses.
            ValueError: A file is no image, or no video that can be read to its end.
        """
        kept = [item for item in inputs if self._is_complete(item)]
        complete = set(kept)
        left = [item for item in inputs if item not in complete]
        self.shares.discard({item.name for item in left})
        for item in kept:
            if item.name not in self.shares:
                self.shares.add(item.name, self.output.read_labels(item))
        images = [item for item in left if not item.is_video]
        videos = {item: video_length_and_rate(item.path) for item in left if item.is_video}
        total = len(images) + sum(length for length, _ in videos.values())
        try:
            with (
                tqdm(total=total, desc="predict", unit="image", disable=not left) as bar,
                ThreadPoolExecutor(_THREADS) as pool,
            ):
                self._predict_images(images, pool, bar)
                for item, (_, rate) in videos.items():
                    try:
                        self._predict_video(item, rate, pool, bar)
                    # An interruption, too, leaves no rows of a video that is not there.
                    except BaseException:
                        self.shares.discard({item.name})
                        raise
        finally:
            self.shares.save()
        return len(kept)

    def _is_complete(self, item: Input) -> bool:
        # Of a video the table has what its frames were; an image has its label map.
        return self.output.is_complete(item) and (not item.is_video or item.name in self.shares)

    def _predict_images(self, images: list[Input], pool: Executor, bar: tqdm) -> None:
        def load(item: Input) -> LoadedImage:
            return self.predictor.load(item, item.path)

        loaded = ahead(pool, load, images, depth=2 * _THREADS)
        predicted = self.predictor.predict(
            loaded, batch_size=self.batch_size, confidence=self.confidence
        )
        for done in ahead(pool, self.output.write_image, predicted, depth=2 * _THREADS):
            self.shares.add(done.key.name, done.labels)
            bar.update()

    def _predict_video(self, item: Input, rate: float, pool: Executor, bar: tqdm) -> None:
        network = self.predictor.network

        def load(numbered: tuple[int, np.ndarray]) -> LoadedImage:
            return self.predictor.load(*numbered)

        def draw(prediction: Prediction) -> tuple[Prediction, np.ndarray]:
            colors = color_bgr(prediction.labels, network.palette)
            return prediction, overlay(prediction.image, colors)

        path = self.output.path(item, "overlay")
        with (
            ThreadPoolExecutor(1) as reader,
            self.output.recording(item),
            replacing_video(
                path, rate=rate, classes=network.classes, palette=network.palette
            ) as write,
        ):
            frames = _in_thread(reader, read_frames(item.path))
            loaded = ahead(pool, load, frames, depth=_THREADS)
            predicted = self.predictor.predict(loaded, batch_size=self.batch_size)
            for done, picture in ahead(pool, draw, predicted, depth=_THREADS):
                write(picture)
                self.shares.add(item.name, done.labels, frame=done.key)
                bar.update()
            # Before the video takes its place: a video that is there has its shares.
            self.shares.save()


def _in_thread(reader: Executor, items: Iterator[Given]) -> Iterator[Given]:
    """Take items in a thread, a few of them ahead; the thread must be a single one."""
    taken = ahead(reader, lambda _: next(items, None), itertools.count(), depth=4)
    for item in taken:
        if item is None:
            return
        yield item
