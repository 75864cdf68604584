"""Checkpoints that a kill cannot take away."""

from __future__ import annotations

import os
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner
from mmseg.registry import HOOKS


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """MMEngine's checkpoint hook with the order mended, for checkpoints on a local disk.

    The stock hook deletes the oldest checkpoint before it writes the new one, and writes in place: with
    ``max_keep_ckpts=1`` a kill in between leaves nothing. Here the new file is written under a temporary name and
    renamed, ``last_checkpoint`` follows, and only then old files go. Takes the arguments of `CheckpointHook`.
    """

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        outdated = []
        if self.max_keep_ckpts > 0 and step not in self.keep_ckpt_ids:
            while len(self.keep_ckpt_ids) >= self.max_keep_ckpts:
                outdated.append(self.keep_ckpt_ids.popleft())
            self.keep_ckpt_ids.append(step)
            runner.message_hub.update_info("keep_ckpt_ids", list(self.keep_ckpt_ids))
        name = self.filename_tmpl.format(step)
        path = Path(self.out_dir) / name
        self.last_ckpt = str(path)
        runner.message_hub.update_info("last_ckpt", self.last_ckpt)
        temporary = f".{name}.tmp"
        runner.save_checkpoint(
            self.out_dir,
            temporary,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            **self.args,
        )
        if not is_main_process():
            return
        os.replace(path.with_name(temporary), path)
        pointer = Path(runner.work_dir) / "last_checkpoint"
        pointer.with_suffix(".tmp").write_text(str(path))
        os.replace(pointer.with_suffix(".tmp"), pointer)
        for old in outdated:
            path.with_name(self.filename_tmpl.format(old)).unlink(missing_ok=True)
