"""What a config gets wrong without an error of its own: a loop that does not fit, parts that never take part."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.runner import IterBasedTrainLoop, Runner

from mmdrsl.datasets.samplers.two_domain_sampler import TwoDomainSampler
from mmdrsl.engine.adaptation_hook import AdaptationHook
from mmdrsl.engine.batch_mixtures import BatchMixture
from mmdrsl.engine.model_access import unwrapped


def check_loop(runner: Runner) -> None:
    """Refuse a loop by epochs on a stream of images that has no end.

    Args:
        runner: A runner that trains.

    Raises:
        TypeError: The loop is no `IterBasedTrainLoop`.
    """
    loop, sampler = runner.train_loop, getattr(runner.train_dataloader, "sampler", None)
    if isinstance(sampler, TwoDomainSampler) and not isinstance(loop, IterBasedTrainLoop):
        raise TypeError(
            f"train_cfg builds a {type(loop).__name__}, but a two-domain stream has no epochs: set train_cfg=dict("
            "type='IterBasedTrainLoop', max_iters=..., val_interval=...), and by_epoch=False in param_scheduler, "
            "default_hooks.checkpoint and log_processor."
        )


def check_writable(runner: Runner) -> None:
    """Refuse folders of results that cannot be written.

    Args:
        runner: The runner.

    Raises:
        OSError: A folder cannot be written.
    """
    if not is_main_process():
        return
    hooks = [hook for hook in runner.hooks if isinstance(hook, CheckpointHook)]
    for folder in dict.fromkeys(
        [runner.work_dir, *(hook.out_dir or runner.work_dir for hook in hooks)]
    ):
        if "://" in str(folder):
            # A remote place of MMEngine's file clients.
            continue
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(b"0")
        except OSError as error:
            raise OSError(
                error.errno,
                f"{folder} cannot be written ({error.strerror}): free some space, or choose another work_dir",
            ) from error


def check_schedules(runner: Runner) -> None:
    """Say where a resumed schedule ends elsewhere than the config's: MMEngine goes on with that of the checkpoint.

    Args:
        runner: A runner that trains, whose checkpoint is loaded.
    """
    entries, schedules = runner.cfg.get("param_scheduler") or [], runner.param_schedulers
    entries = [entries] if isinstance(entries, dict) else entries
    if not isinstance(schedules, list) or len(schedules) != len(entries):
        return
    for entry, schedule in zip(entries, schedules, strict=True):
        wanted = runner.max_epochs if entry.get("by_epoch", True) else runner.max_iters
        wanted = entry.get("end", wanted)
        if schedule.end != wanted and not entry.get("convert_to_iter_based"):
            runner.logger.warning(
                f"The {entry['type']} of the checkpoint ends at {schedule.end}, that of the config at {wanted}: from "
                f"{schedule.end} on its rate stays as it is. Resume with the length with which the run began, or "
                "begin anew from its weights (load_from without resume)."
            )


def check_participation(runner: Runner, mixtures: Sequence[BatchMixture]) -> None:
    """Name parts of a config that never take part in the training.

    Args:
        runner: A runner that trains.
        mixtures: The compositions of its batches.

    Raises:
        ValueError: There is a target and a term that reads it, and no batch ever holds a target image.
    """
    terms: dict[str, Any] = dict(getattr(unwrapped(runner), "terms", {}))
    drawn = [mixture.domains for mixture in mixtures]
    idle = [name for name, term in terms.items() if not any(term.domains <= each for each in drawn)]
    of_target = [name for name in idle if "target" in terms[name].domains]
    never = not any("target" in each for each in drawn)
    has_target = "target" in getattr(runner.train_dataloader.dataset, "domains", {})
    if of_target and never and has_target:
        raise ValueError(
            f"No batch of this run holds a target image, so the terms {of_target} would never act and the run would "
            "be source-only training. A SelfTrainingHook with rounds sets the share of target images: add "
            "default_hooks=dict(self_training=dict(type='SelfTrainingHook', warmup_iterations=..., rounds=[dict("
            "iterations=..., target_share=0.5)], online=True)), without online=True for terms that learn pseudo "
            "labels; or leave these terms out."
        )
    for name in idle:
        wanted = " and ".join(sorted(terms[name].domains))
        runner.logger.warning(
            f"model.terms.{name} never takes part: it needs batches with {wanted} images, and this run has none. "
            "Change train_dataloader.batch_size or target_share, or leave the term out."
        )
    read = any(isinstance(hook, AdaptationHook) and hook.reads_target for hook in runner.hooks)
    if never and has_target and not read:
        runner.logger.warning(
            "train_dataloader.dataset.target never takes part: no batch holds a target image and no hook reads it. "
            "This is source-only training; set train_dataloader.dataset.target=None where that is meant."
        )
    begin = min((each.phase.begin for each in mixtures if each.phase.number), default=None)
    # Ramps are highest at the end; without rounds all is warm-up.
    last = -1 if begin is None else runner.max_iters - 1 - begin
    for name, term in terms.items():
        if name not in idle and term.weight_at(last) <= 0:
            runner.logger.warning(
                f"model.terms.{name} never takes part: its weight is 0 in every step of this run. Raise its weight, "
                "shorten its ramp, or leave the term out."
            )
    best = [hook.save_best for hook in runner.hooks if getattr(hook, "save_best", None)]
    if best and runner.val_loop is None:
        runner.logger.warning(
            f"default_hooks.checkpoint.save_best={best[0]!r} never takes part: nothing is evaluated in this run."
        )
