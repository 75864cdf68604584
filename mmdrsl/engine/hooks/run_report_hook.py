"""Pictures and a report of every run while it trains."""

from __future__ import annotations

import shlex
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine.dist import is_main_process
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmdrsl.atomic_files import write_atomically
from mmdrsl.datasets.unlabeled import UnlabelledDataset
from mmdrsl.engine.adaptation_hook import AdaptationHook
from mmdrsl.engine.model_access import labeling_pipeline, unwrapped
from mmdrsl.mmengine_private import has_training_loop
from mmdrsl.versions import environment

if TYPE_CHECKING:
    from mmdrsl.visualization.run_report import RunRecord

REFRESH_SECONDS = 600.0


@HOOKS.register_module()
class RunReportHook(AdaptationHook):
    """Writes ``<work_dir>/report.html`` and gives pictures to the visualizer's backends.

    The page and the pictures are renewed with the first step, at the end of the warm-up and of every round, after every
    evaluation and at the end; the page alone every ten minutes, too. Pictures: ``training_batch`` (the first image of
    each domain in the first batch of a phase, with labels and with what terms gave to `AdaptationStep.show`),
    ``target_images`` (pseudo label, confidence, prediction) and ``validation_images``. Scalars: ``pseudo_labels/...``,
    coverage, kept share per class and label-free scores of every round. What the page shows is kept in
    ``<work_dir>/report``, so that a resumed run goes on with it.

    The hook changes nothing of the training: it draws no random number of the run, restores the mode of every module,
    and takes no gradient. What fails in it is one warning in the log, and the training goes on.
    """

    acts_in_warmup = True
    changes_segmentor = False
    only_observes = True

    # In before_train_iter before AdaBNHook (LOW), which takes up other statistics than those that were evaluated.
    priority = "NORMAL"

    def __init__(self) -> None:
        self._record: RunRecord | None = None
        self._is_due = False
        self._evaluated = False
        self._looks_at_batch = False
        self._written = 0.0
        self._warned = False

    def before_train(self, runner: Runner) -> None:
        """Note what is run."""
        self._guarded(runner, self._begin)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Look at the model where a phase begins or an evaluation was done, and at the batch where a phase begins."""
        if not is_main_process() or self._record is None:
            return
        if runner.iter in {begin for _, begin in self._record.phases}:
            self._looks_at_batch = True
            model = unwrapped(runner)
            if hasattr(model, "pictures"):
                model.pictures = {}
            self._guarded(runner, self._log_labels)
            self._evaluated = True
        if self._evaluated and runner.iter > 0:
            self._guarded(runner, self._look)
        self._is_due = self._is_due or self._evaluated
        self._evaluated = False

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Draw the batch of a phase's first step, and write the page where it is due."""
        if not is_main_process() or self._record is None:
            return
        if self._looks_at_batch:
            self._looks_at_batch = False
            self._guarded(runner, self._draw_batch, data_batch)
            unwrapped(runner).pictures = None
        if self._is_due or time.monotonic() - self._written > REFRESH_SECONDS:
            self._is_due = False
            self._guarded(runner, self._write, runner.iter + 1)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Look at the model before the next step."""
        self._evaluated = has_training_loop(runner)

    def after_train(self, runner: Runner) -> None:
        """Look at the final model and write the page."""
        if is_main_process() and self._record is not None:
            self._guarded(runner, self._look)
            self._guarded(runner, self._write, runner.iter)

    def _guarded(self, runner: Runner, action: Callable[..., None], *arguments: Any) -> None:
        """Do something that may fail without an effect on the training."""
        if not is_main_process():
            return
        try:
            action(runner, *arguments)
        # Whatever it is: a picture is no reason to stop a training.
        except Exception as error:
            if not self._warned:
                self._warned = True
                runner.logger.warning(
                    f"The report of the run is incomplete, training goes on: {type(error).__name__}: {error}"
                )

    def _begin(self, runner: Runner) -> None:
        # Here, so that importing mmdrsl imports nothing that draws.
        from mmdrsl.visualization.run_report import FOLDER, Start, read_record

        work_dir = Path(runner.work_dir)
        if runner.iter == 0:
            # What an earlier run left in this folder is not about this one.
            shutil.rmtree(work_dir / FOLDER, ignore_errors=True)
        earlier = read_record(work_dir)
        start = Start(
            timestamp=runner.timestamp,
            first_step=runner.iter,
            command=shlex.join(["python", *sys.argv]),
            versions=environment(),
        )
        starts = [*(earlier.starts if earlier else ()), start]
        self._record = describe_run(runner, starts)
        (work_dir / FOLDER).mkdir(parents=True, exist_ok=True)
        self._is_due = True

    def _look(self, runner: Runner) -> None:
        from mmdrsl.visualization.run_pictures import looking, target_rows, validation_rows

        record = self._record
        if record is None or not record.classes:
            return
        model = unwrapped(runner)
        target = getattr(runner.train_dataloader.dataset, "domains", {}).get("target")
        with looking(model):
            if isinstance(target, UnlabelledDataset):
                rows = target_rows(
                    target,
                    model,
                    palette=record.palette,
                    pipeline=labeling_pipeline(runner),
                    labels=self._labels_folder(runner),
                )
                self._show(runner, "target", rows, runner.iter)
            if record.validation_images:
                validation = runner.val_dataloader.dataset
                rows = validation_rows(validation, model, palette=record.palette)
                self._show(runner, "validation", rows, runner.iter)

    def _draw_batch(self, runner: Runner, data_batch: Any) -> None:
        from mmdrsl.visualization.run_pictures import batch_row, looking

        record, model = self._record, unwrapped(runner)
        is_batch = (
            isinstance(data_batch, Mapping) and {"inputs", "data_samples"} <= data_batch.keys()
        )
        if record is None or not record.classes or not is_batch:
            return
        with looking(model):
            cells = batch_row(
                data_batch,
                getattr(model, "pictures", None) or {},
                preprocessor=model.data_preprocessor,
                palette=record.palette,
            )
        if cells:
            self._show(runner, "batch", [("batch", cells)], runner.iter + 1)

    @staticmethod
    def _show(runner: Runner, group: str, rows: Any, step: int) -> None:
        """Keep rows of pictures for the page, and give them to the backends."""
        from mmdrsl.visualization.run_report import FOLDER
        from mmdrsl.visualization.snapshots import save_snapshot, sheet

        save_snapshot(Path(runner.work_dir) / FOLDER, group, step, rows)
        name = "training_batch" if group == "batch" else f"{group}_images"
        runner.visualizer.add_image(name, sheet(rows), step=step)

    def _labels_folder(self, runner: Runner) -> Path | None:
        """Folder of the labels that were made where the run stands."""
        number = self._round_that_begins(runner)
        folder = Path(runner.work_dir) / "pseudo_labels" / f"round_{number}"
        labeled = any(phase.number == number and phase.labeled for phase in _phases(runner))
        return folder if labeled and folder.is_dir() else None

    @staticmethod
    def _round_that_begins(runner: Runner) -> int | None:
        return next((p.number for p in _phases(runner) if p.begin == runner.iter), None)

    def _log_labels(self, runner: Runner) -> None:
        """Give the figures of a round's labels to the backends."""
        from mmdrsl.visualization.run_records import (
            coverage_per_round,
            kept_share_per_round,
            scores_per_round,
        )

        number = self._round_that_begins(runner)
        coverage = coverage_per_round(runner.work_dir)
        if number not in coverage:
            return
        scalars = {"pseudo_labels/coverage": coverage[number]}
        for name, value in kept_share_per_round(runner.work_dir).get(number, {}).items():
            scalars[f"pseudo_labels/kept_share.{name}"] = value
        for name, value in scores_per_round(runner.work_dir).get(number, {}).items():
            scalars[f"pseudo_labels/{name}"] = value
        runner.visualizer.add_scalars(scalars, step=runner.iter)

    def _write(self, runner: Runner, finished: int) -> None:
        from mmdrsl.visualization.run_report import FOLDER, PAGE, RECORD, render_run_report

        if self._record is None:
            return
        self._written = time.monotonic()
        work_dir = Path(runner.work_dir)
        self._record = replace(self._record, finished_steps=finished)
        write_atomically(work_dir / FOLDER / RECORD, self._record.text())
        write_atomically(work_dir / PAGE, render_run_report(work_dir))


def _phases(runner: Runner) -> tuple:
    return getattr(unwrapped(runner), "phases", ())


def describe_run(runner: Runner, starts: list) -> RunRecord:
    """What is run, from the runner.

    Args:
        runner: The runner, in training.
        starts: Processes of the run, this one last.

    Returns:
        The record.
    """
    from mmdrsl.visualization.run_report import RunRecord

    model, loader = unwrapped(runner), runner.train_dataloader
    dataset = loader.dataset
    domains = getattr(dataset, "domains", {"training data": dataset})
    facts = [(name, _data_text(data)) for name, data in domains.items()]
    validation = None if runner.val_loop is None else runner.val_dataloader.dataset
    facts.append(("validation", "none" if validation is None else _data_text(validation)))
    facts.append(("model", _model_text(model)))
    terms = getattr(model, "terms", {})
    if terms:
        facts.append(("terms", ", ".join(f"{n} ({type(t).__name__})" for n, t in terms.items())))
    if hasattr(model, "predict_with_teacher"):
        predicts = "the averaged teacher" if model.predict_with_teacher else "the trained network"
        facts.append(("predicts", predicts))
    facts.append(("batch", f"{loader.batch_size} images per process"))
    phases = _phases(runner)
    facts += [(_phase_name(phase.number), _phase_text(phase)) for phase in phases]
    facts.append(("seed", str(runner.seed)))
    meta = getattr(dataset, "metainfo", None) or {}
    # Of another kind, such as a translator's.
    segments = "classes" in meta and "palette" in meta
    return RunRecord(
        title=Path(runner.cfg.filename).stem if runner.cfg.filename else Path(runner.work_dir).name,
        starts=starts,
        facts=facts,
        phases=[(_phase_name(phase.number), phase.begin) for phase in phases] or [("training", 0)],
        max_steps=runner.max_iters,
        finished_steps=runner.iter,
        classes=list(meta["classes"]) if segments else [],
        palette=[[int(v) for v in color] for color in meta["palette"]] if segments else [],
        validation_images=0 if validation is None else len(validation),
        config=Path(runner.cfg.filename).name if runner.cfg.filename else f"{runner.timestamp}.py",
        seed=runner.seed,
    )


def _phase_name(number: int) -> str:
    return f"round {number}" if number else "warm-up"


def _phase_text(phase: Any) -> str:
    text = f"steps {phase.begin + 1} to {phase.end}"
    if phase.number == 0:
        return f"{text}, source images alone"
    text += f", {100 * phase.target_share:.0f} % target images"
    if not phase.labeled:
        return f"{text}, no labels made beforehand"
    if phase.portion is not None:
        text += f", labels for {100 * phase.portion:.0f} % of the pixels of each predicted class"
    return text


def _data_text(data: Any) -> str:
    root = getattr(data, "data_root", None)
    place = f" in {root}" if root else ""
    return f"{type(data).__name__}{place}, {len(data)} images"


def _model_text(model: Any) -> str:
    segmentor = getattr(model, "segmentor", model)
    parts = [getattr(segmentor, name, None) for name in ("backbone", "decode_head")]
    names = ", ".join(type(part).__name__ for part in parts if part is not None)
    text = f"{type(segmentor).__name__}" + (f" ({names})" if names else "")
    count = sum(parameter.numel() for parameter in segmentor.parameters())
    return f"{text}, {count / 1e6:.1f} million parameters"
