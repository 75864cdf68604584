"""Keeps the memory of source embeddings of each mode fresh, between steps."""

from __future__ import annotations

from typing import Any

from mmengine.dist import broadcast, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from ..source_sample import embed_source_sample, find_mode_head, unwrapped


@HOOKS.register_module()
class ModeMemoryHook(Hook):
    """Writes embeddings of source pixels into the memory of an `MMDLHead` at intervals.

    The embeddings come from a seeded sample of source images, computed on the first rank in evaluation mode; the memory
    is broadcast. It is part of the checkpoint, so a resumed run continues with it. Entries of a class that no sampled
    image shows grow old: take more images, or a shorter interval, where features still move fast.

    Args:
        interval: Steps between two samples, >= 1.
        num_images: Source images per sample.
        max_pixels_per_class: Pixels per class and sample.
        head: Name of the `MMDLHead` in the adaptor.

    Raises:
        ValueError: An argument is outside its range.
    """

    def __init__(
        self,
        *,
        interval: int = 20,
        num_images: int = 4,
        max_pixels_per_class: int = 64,
        head: str = "mmdl",
    ) -> None:
        if min(interval, num_images, max_pixels_per_class) < 1:
            raise ValueError(
                "ModeMemoryHook needs interval, num_images and max_pixels_per_class >= 1, found "
                f"{interval}, {num_images}, {max_pixels_per_class}."
            )
        self.interval = interval
        self.num_images = num_images
        self.max_pixels_per_class = max_pixels_per_class
        self.head = head

    def before_train(self, runner: Runner) -> None:
        """Tell the head that its memory is kept.

        Raises:
            ValueError: The model has no such head, or it has no memory.
        """
        head = find_mode_head(unwrapped(runner), self.head)
        if not head.memory_size:
            raise ValueError(
                f"ModeMemoryHook fills the memory of model.heads.{self.head}, whose memory_size is 0; set it, to 64 "
                "for instance."
            )
        head.memory_followed = True

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Write a sample, where this step is one of those."""
        finished = runner.iter + 1
        if finished % self.interval:
            return
        head = find_mode_head(unwrapped(runner), self.head)
        if is_main_process():
            sample = embed_source_sample(
                runner,
                head,
                iteration=finished,
                num_images=self.num_images,
                max_pixels_per_class=self.max_pixels_per_class,
            )
            head.remember(sample.embeddings, sample.labels)
        broadcast(head.memory)
        broadcast(head.memory_written)
