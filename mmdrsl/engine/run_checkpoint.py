"""Loads a checkpoint into a run: what MMEngine's Runner does, with the checks that it lacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from mmengine.model import BaseTTAModel
from mmengine.runner import CheckpointLoader, Runner
from torch import nn

from mmdrsl.checkpoint_weights import begins, load_weights, predicts, weights_of
from mmdrsl.checkpoints import holds_training_state
from mmdrsl.datasets.class_names import (
    check_class_count,
    check_same_classes,
    classes_of_checkpoint,
    classes_of_data,
)
from mmdrsl.datasets.label_loading import check_stock_labels
from mmdrsl.engine.model_access import unwrapped
from mmdrsl.mmengine_private import built_loop, has_training_loop

TRANSFER = (
    "Give the data the classes that the network was trained for, in their order (label_space). A training that starts "
    "from it with other classes lists the classifiers in load_from_without, see docs/checkpoints.md."
)


def load_into_run(
    runner: Runner,
    filename: str,
    map_location: str | Callable = "cpu",
    strict: bool = False,
    revise_keys: Iterable[tuple[str, str]] = ((r"^module\.", ""),),
) -> dict[str, Any]:
    """Load a checkpoint into a run's model; takes the place of ``Runner.load_checkpoint``.

    What a test uses is the network that predicts. A training that begins with a checkpoint may add heads,
    discriminators, terms and a teacher to it, or leave them away, and starts the weights that ``load_from_without``
    lists anew. A resumed training takes everything; a teacher may be new.

    Args:
        runner: The run.
        filename: Path or address of the checkpoint.
        map_location: As for ``torch.load``.
        strict: Whether the file has to hold all weights of the model and nothing else.
        revise_keys: Regular expression and replacement of parts of the weights' names.

    Returns:
        Its content.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It cannot be read safely, does not fit the model, knows other classes than the data, or is to be
            resumed and holds no state of a training.
    """
    checkpoint = CheckpointLoader.load_checkpoint(filename, map_location=map_location)
    if not isinstance(checkpoint, dict):
        raise ValueError(
            f"{filename} holds a {type(checkpoint).__name__}, expected the checkpoint of a training."
        )
    weights_of(checkpoint, filename)
    trains = has_training_loop(runner)
    resumes = trains and bool(runner._resume)
    if resumes:
        _check_resumable(checkpoint, filename)
    runner.call_hook("after_load_checkpoint", checkpoint=checkpoint)
    model = unwrapped(runner)
    model = model.module if isinstance(model, BaseTTAModel) else model
    anew: Sequence[str] = ()
    if trains and not resumes:
        anew = [str(prefix) for prefix in runner.cfg.get("load_from_without") or ()]
    if not _is_other_classifier(model, anew):
        _check_classes(runner, checkpoint, filename)
    load_weights(
        model,
        weights_of(checkpoint, filename, revise_keys),
        source=filename,
        used=_used(model, strict=strict, trains=trains, resumes=resumes),
        separable=_separable(strict=strict, resumes=resumes),
        anew=anew,
    )
    runner._has_loaded = True
    runner.logger.info(f"Load checkpoint from {filename}")
    return checkpoint


def check_run_classes(runner: Runner) -> None:
    """Compare the classes of all data of a run and of its model.

    Args:
        runner: A run whose loops are built.

    Raises:
        ValueError: Two of them differ, or labels cannot number the classes.
    """
    found = _classes_of_run(runner)
    for name, classes in found:
        check_class_count(classes, of=name)
    for name, classes in found[1:]:
        check_same_classes(
            found[0][1],
            classes,
            of=(found[0][0], name),
            remedy="Give both the same label_space, or the same metainfo.classes.",
        )
    model = unwrapped(runner)
    model = model.module if isinstance(model, BaseTTAModel) else model
    number = getattr(model, "num_classes", None)
    for name, classes in found:
        if number is not None and classes is not None and number != len(classes):
            raise ValueError(
                f"The model predicts {number} classes, {name} has {len(classes)}: {list(classes)}. Give "
                "model.label_space (or decode_head.num_classes) and the data the same classes."
            )
        check_same_classes(
            getattr(model, "classes", None),
            classes,
            of=("the model", name),
            remedy="Give model and data the same label_space.",
        )


def check_evaluation_labels(runner: Runner) -> None:
    """Refuse data of MMSegmentation's own datasets to validate or test on whose labels are no train ids.

    Args:
        runner: A run whose loops are built.

    Raises:
        ValueError: A label holds another id.
    """
    for name in ("val", "test"):
        loop = built_loop(runner, name)
        if loop is not None:
            check_stock_labels(loop.dataloader.dataset)


def _classes_of_run(runner: Runner) -> list[tuple[str, tuple[str, ...] | None]]:
    """What the built loops train on and evaluate, with its classes."""
    found = []
    train, val, test = (built_loop(runner, name) for name in ("train", "val", "test"))
    if train is not None:
        found.append(("the training data", classes_of_data(train.dataloader.dataset)))
    for name, loop in (("the validation data", val), ("the test data", test)):
        if loop is None:
            continue
        spaces = [
            metric.prediction_space.classes
            for metric in loop.evaluator.metrics
            # Data with further classes, of which the metric knows those that are predicted.
            if getattr(metric, "prediction_space", None) is not None
        ]
        classes = spaces[0] if spaces else classes_of_data(loop.dataloader.dataset)
        found.append((name, classes))
    return found


def _check_classes(runner: Runner, checkpoint: dict[str, Any], filename: str) -> None:
    for name, classes in _classes_of_run(runner):
        check_same_classes(
            classes_of_checkpoint(checkpoint), classes, of=(filename, name), remedy=TRANSFER
        )


def _check_resumable(checkpoint: dict[str, Any], filename: str) -> None:
    if not holds_training_state(checkpoint):
        raise ValueError(
            f"{filename} holds weights and no state of a training that could be resumed: begin with it by load_from "
            "and resume=False."
        )
    meta = checkpoint["meta"]
    numbers = {name: meta[name] for name in ("epoch", "iter")}
    if not all(isinstance(each, int) and each >= 0 for each in numbers.values()):
        raise ValueError(
            f"{filename} is damaged: its meta says {numbers}. Take another checkpoint."
        )
    # MMEngine would run this text as Python code.
    meta.pop("config", None)


def _is_other_classifier(model: nn.Module, anew: Sequence[str]) -> bool:
    """Whether the layers that tell the classes apart start anew."""
    head = [name for name in model.state_dict() if "decode_head." in name and predicts(name)]
    classifier = [name for name in head if ".conv_seg." in name] or head
    return bool(classifier) and all(begins(name, anew) for name in classifier)


def _used(model: nn.Module, *, strict: bool, trains: bool, resumes: bool) -> Callable[[str], bool]:
    """Say of a weight's name whether the run uses it."""
    if strict or resumes:
        return lambda name: True
    if trains:
        # It begins as a copy of the student, whatever teacher the file has.
        return lambda name: not name.startswith("teacher.")
    teacher = bool(getattr(model, "predict_with_teacher", False))
    return lambda name: (
        predicts(name)
        or (teacher and name.startswith("teacher.") and "auxiliary_head." not in name)
    )


def _separable(*, strict: bool, resumes: bool) -> tuple[str, ...]:
    if strict:
        return ()
    return (
        ("teacher",)
        if resumes
        else ("heads", "discriminators", "terms", "teacher", "auxiliary_head")
    )
