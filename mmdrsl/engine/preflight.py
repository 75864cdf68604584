"""Tries everything that a run will do once, before its first step, and leaves the run as it was."""

from __future__ import annotations

import copy
import gc
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmengine.dataset import Compose, pseudo_collate
from mmengine.runner import Runner, turn_on_activation_checkpointing

from mmdrsl.engine.adaptation_hook import AdaptationHook
from mmdrsl.engine.batch_mixtures import BatchMixture, batch_mixtures, draw_batch
from mmdrsl.engine.model_access import labeling_pipeline, unwrapped
from mmdrsl.engine.run_checks import (
    check_loop,
    check_participation,
    check_schedules,
    check_writable,
)
from mmdrsl.models.adaptation_step import AdaptationProgress

# Goes into checkpoints: the mixtures that were tried.
TRIED_KEY = "preflight_mixtures"
SWITCH = "default_hooks.preflight.enabled=False"
# What PyTorch says, and what it means here.
HINTS = (
    (
        "Expected more than 1 value per channel",
        "Batch normalization after pooling to one value per channel (ASPP, PSP) needs two images in each pass: raise "
        "train_dataloader.batch_size or the round's target_share so that every domain of a batch has two, take "
        "model.bn_mode='joint' or 'frozen', or a head without pooled features.",
    ),
    (
        "weight tensor should be defined either for all",
        "class_weight has another length than the classes: give model.class_weight, or class_weight of the head's "
        "loss_decode, one weight per class.",
    ),
    (
        "unflatten: Provided sizes",
        "The decode head has another number of outputs than classes, such as one for two classes with use_sigmoid: set "
        "out_channels=num_classes and a softmax cross entropy.",
    ),
)


class PreflightError(ValueError):
    """Something that a run will do does not work."""


def run_preflight(runner: Runner) -> None:
    """Try every kind of step of a run on a copy of its model.

    The copy takes one training step's forward and backward pass for every composition of a batch, a step of the
    validation or a prediction, and what the hooks have to try. The run's model, random streams, sampler and loaders
    stay as they are. A run that goes on from a checkpoint repeats only what its beginning did not try.

    Args:
        runner: A runner with a segmentor, after the ``before_train`` of its other hooks.

    Raises:
        PreflightError: A step failed.
        TypeError: The training loop does not fit.
        ValueError: A term or the target never takes part, or an image belongs to no group of the evaluator.
        OSError: A folder of results cannot be written, or a file cannot be read.
    """
    begin = time.monotonic()
    check_loop(runner)
    mixtures = batch_mixtures(runner)
    check_participation(runner, mixtures)
    check_writable(runner)
    check_schedules(runner)
    _check_names(runner)
    tried = [list(mixture.kind) for mixture in mixtures]
    known = runner.message_hub.get_info(TRIED_KEY, [])
    if runner.iter > 0 and all(each in known for each in tried):
        return
    with unchanged_randomness():
        _try_all(runner, mixtures)
    if torch.cuda.is_available():
        # The memory of the copy is the run's again, and its peak is not the run's.
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    runner.message_hub.update_info(TRIED_KEY, tried)
    steps = "; ".join(mixture.describe() for mixture in mixtures)
    runner.logger.info(f"Preflight passed in {time.monotonic() - begin:.1f} s: {steps}.")


@contextmanager
def unchanged_randomness() -> Iterator[None]:
    """Restore the random states of Python, NumPy and PyTorch, of its present GPU too, after the block."""
    states = random.getstate(), np.random.get_state()
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


@contextmanager
def trial(what: str, keys: str) -> Iterator[None]:
    """Say of an error in the block what was tried, which entries of the config it depends on, and a remedy.

    Args:
        what: What is tried.
        keys: The entries, with their values where they say something.

    Raises:
        PreflightError: The block raised an error.
        OSError: It was one about a file.
    """
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        raise PreflightError(
            f"Before the first step, {what} ran out of GPU memory: {error} Lower train_dataloader.batch_size or the "
            f"crops, or train with --amp. The trial keeps a second copy of the weights; {SWITCH} leaves it out where "
            "that alone is too much."
        ) from error
    except Exception as error:
        message = str(error)
        if isinstance(error, OSError) and error.errno is not None:
            # Its number makes a FileNotFoundError one again.
            raise OSError(
                error.errno, f"Before the first step, {what} failed: {message}"
            ) from error
        hints = [hint for text, hint in HINTS if text in message]
        raise PreflightError(
            f"Before the first step, {what} failed with {type(error).__name__}: {message.rstrip('.')}. "
            f"{' '.join(hints) or 'The run would have ended there.'} It depends on {keys}. ({SWITCH} leaves these "
            "trials out.)"
        ) from error


def _try_all(runner: Runner, mixtures: Sequence[BatchMixture]) -> None:
    """Try every part on one copy, which is gone afterwards."""
    model = copy.deepcopy(unwrapped(runner))
    recomputed = runner.cfg.get("activation_checkpointing")
    if recomputed is not None:
        for module in model.modules():
            # MMEngine's wrapped method would run the run's own module, and leave gradients there.
            vars(module).pop("forward", None)
        turn_on_activation_checkpointing(model, recomputed)
    for mixture in mixtures:
        with trial(mixture.describe(), _keys_of(runner, mixture)):
            _try_training(runner, model, mixture)
    what = "the prediction of an image" if runner.val_loop is None else "a step of the validation"
    keys = "val_dataloader, val_evaluator, model.segmentor.test_cfg and its decode_head"
    with trial(what, keys):
        _try_prediction(runner, model.eval())
    for hook in runner.hooks:
        if isinstance(hook, AdaptationHook):
            with trial(
                f"what {type(hook).__name__} does",
                "the hook's own arguments, and model.segmentor.decode_head (num_classes, out_channels)",
            ):
                hook.preflight(runner, model)


def _keys_of(runner: Runner, mixture: BatchMixture) -> str:
    """Entries of the config that a training step depends on."""
    number = mixture.num_source + mixture.num_target
    model = unwrapped(runner)
    share = f"target_share={mixture.phase.target_share} of round {mixture.phase.number}, "
    return (
        f"train_dataloader.batch_size={number}, {share if mixture.phase.number else ''}"
        f"model.bn_mode={getattr(model, 'bn_mode', 'joint')!r}, the crop of the training pipelines, model.segmentor "
        f"and model.terms {sorted(getattr(model, 'terms', {}))}"
    )


def _try_training(runner: Runner, model: Any, mixture: BatchMixture) -> None:
    """One forward and backward pass, without a step of the optimizer."""
    if mixture.phase.number > 0 and getattr(model, "teacher", None) is not None:
        # By then there is one.
        model.teacher.update_parameters(model.networks())
    begin = min((phase.begin for phase in getattr(model, "phases", ()) if phase.number), default=0)
    model.progress = AdaptationProgress(
        round=mixture.phase.number, adaptation_iteration=mixture.phase.end - 1 - begin
    )
    model.train()
    batch = draw_batch(runner, mixture)
    with runner.optim_wrapper.optim_context(model):
        losses = model(**model.data_preprocessor(batch, True), mode="loss")
    loss, _ = model.parse_losses(losses)
    loss.backward()
    model.zero_grad(set_to_none=True)


def _try_prediction(runner: Runner, model: Any) -> None:
    """One step of the validation as far as the metrics; without one a prediction of a training image."""
    loop: Any = runner.val_loop
    if loop is None:
        dataset = copy.copy(_images_to_predict(runner))
        dataset.pipeline = Compose(labeling_pipeline(runner))
        with torch.no_grad():
            model.test_step(pseudo_collate([dataset[0]]))
        return
    loader = loop.dataloader
    number = min(loader.batch_size or 1, len(loader.dataset))
    batch = loader.collate_fn([loader.dataset[index] for index in range(number)])
    with torch.no_grad():
        outputs = model.val_step(batch)
    evaluator = copy.deepcopy(loop.evaluator)
    for metric in evaluator.metrics:
        # Nothing is written here.
        metric.output_dir = None
    evaluator.process(data_samples=outputs, data_batch=batch)


def _images_to_predict(runner: Runner) -> Any:
    """The dataset whose images a run without validation predicts: the target's where there is one."""
    dataset = runner.train_dataloader.dataset
    domains = getattr(dataset, "domains", {})
    return domains.get("target", domains.get("source", dataset))


def _check_names(runner: Runner) -> None:
    """Let metrics look at the names of all images."""
    loop: Any = runner.val_loop
    for metric in [] if loop is None else loop.evaluator.metrics:
        if hasattr(metric, "check_names"):
            dataset = loop.dataloader.dataset
            infos = (dataset.get_data_info(index) for index in range(len(dataset)))
            metric.check_names(info["img_path"] for info in infos)
