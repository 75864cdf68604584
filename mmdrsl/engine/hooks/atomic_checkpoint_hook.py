"""Checkpoints that a kill cannot take away."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmdrsl.atomic_files import remove_leftovers, replacing, write_atomically
from mmdrsl.engine.model_access import unwrapped
from mmdrsl.folder_lock import written_alone
from mmdrsl.models.batch_norm import share_buffers

OUTDATED_KEY = "outdated_ckpt_ids"


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """MMEngine's checkpoint hook with the order mended, for checkpoints on a local disk.

    The stock hook deletes the oldest checkpoint before it writes the new one, and writes in place: with
    ``max_keep_ckpts=1`` a kill in between leaves nothing. Here the new file is written under a temporary name and
    renamed, ``last_checkpoint`` follows, and only then old files go. Takes the arguments of `CheckpointHook`.

    Only one process at a time trains in a work folder. What a kill left there goes when the run is resumed.
    """

    def before_train(self, runner: Runner) -> None:
        """Take the work folder, and clear what a kill left in it.

        Raises:
            BlockingIOError: Another process trains in the work folder.
        """
        super().before_train(runner)
        if not is_main_process():
            return
        # Given back when the training has ended, or with this process.
        self._alone = ExitStack()
        self._alone.enter_context(written_alone(Path(runner.work_dir)))
        for folder in {Path(runner.work_dir), Path(self.out_dir)}:
            remove_leftovers(folder)
        for step in runner.message_hub.runtime_info.get(OUTDATED_KEY, ()):
            Path(self.out_dir, self.filename_tmpl.format(step)).unlink(missing_ok=True)

    def after_train(self, runner: Runner) -> None:
        """Give the work folder back."""
        super().after_train(runner)
        if is_main_process():
            self._alone.close()

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        outdated = []
        if self.max_keep_ckpts > 0 and step not in self.keep_ckpt_ids:
            while len(self.keep_ckpt_ids) >= self.max_keep_ckpts:
                outdated.append(self.keep_ckpt_ids.popleft())
            self.keep_ckpt_ids.append(step)
            runner.message_hub.update_info("keep_ckpt_ids", list(self.keep_ckpt_ids))
        # In the checkpoint, too: a kill may come before they are gone.
        runner.message_hub.update_info(OUTDATED_KEY, outdated)
        path = Path(self.out_dir) / self.filename_tmpl.format(step)
        self.last_ckpt = str(path)
        runner.message_hub.update_info("last_ckpt", self.last_ckpt)
        # Buffers of other ranks, such as those of a teacher, would be lost: all go on with those of the checkpoint.
        share_buffers(unwrapped(runner))
        # The Runner saves on the first rank alone.
        if not is_main_process():
            return
        with replacing(path) as temporary:
            runner.save_checkpoint(
                self.out_dir,
                temporary.name,
                save_optimizer=self.save_optimizer,
                save_param_scheduler=self.save_param_scheduler,
                meta=meta,
                by_epoch=self.by_epoch,
                **self.args,
            )
        write_atomically(Path(runner.work_dir) / "last_checkpoint", str(path))
        for old in outdated:
            path.with_name(self.filename_tmpl.format(old)).unlink(missing_ok=True)
