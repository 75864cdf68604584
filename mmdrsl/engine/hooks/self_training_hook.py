"""Self-training inside one run: warm-up, then rounds of labelling and training."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import isnan
from pathlib import Path
from typing import Any

import torch
from mmengine.dataset import Compose
from mmengine.dist import barrier, is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapperDict
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch.optim import Optimizer

from ...datasets.samplers import TwoDomainSampler
from ...datasets.two_domain import TwoDomainDataset
from ...models.segmentors import UDASegmentor
from ...models.terms import AdaptationProgress
from ...self_training import PseudoLabelArtefact, PseudoLabeller, RoundManifest, model_hash
from ...self_training.artefact import write_atomically
from ..step_factor import scale_steps

RECORD = "rounds.json"
LABELS_KEY = "pseudo_label_model_hash"
WARMUP = "warmup_weights.pth"
WARMUP_KEY = "warmup_model_hash"
REQUIRED_KEYS = {"iterations", "portion", "target_share"}
OPTIONAL_KEYS = {"lr_factor", "restart"}
LABELLING_PIPELINE = (
    dict(type="LoadImage"),
    dict(type="PackSegInputs", meta_keys=("img_path", "ori_shape", "img_shape", "sample_id")),
)


@dataclass(frozen=True)
class Phase:
    """A stretch of training with one mixture of the domains; phase 0 is the warm-up.

    Attributes:
        number: 0 for the warm-up, else the round.
        begin: First iteration.
        end: Iteration after the last.
        target_share: Share of target images in [0, 1].
        portion: Share of pixels to label per predicted class; 0 in the warm-up.
        lr_factor: Factor on the schedule's learning rate.
        restart: Begin from the weights that the warm-up ended with.
    """

    number: int
    begin: int
    end: int
    target_share: float
    portion: float
    lr_factor: float = 1.0
    restart: bool = False


def build_phases(warmup_iterations: int, rounds: Sequence[dict], max_iters: int) -> list[Phase]:
    """Lay the rounds out on the iterations of a run.

    Args:
        warmup_iterations: Steps on the source before the first round; 0 starts from a loaded checkpoint.
        rounds: One dictionary per round with ``iterations``, ``portion`` and ``target_share``, and optionally
            ``lr_factor`` and ``restart``.
        max_iters: Length of the run.

    Returns:
        The phases, warm-up first (left out where it has no steps).

    Raises:
        ValueError: A round has other keys or impossible values, or the schedule does not fill the run exactly.
    """
    for number, entry in enumerate(rounds, 1):
        if not REQUIRED_KEYS <= set(entry) <= REQUIRED_KEYS | OPTIONAL_KEYS:
            raise ValueError(
                f"SelfTrainingHook.rounds[{number - 1}] has keys {sorted(entry)}, expected {sorted(REQUIRED_KEYS)} "
                f"and perhaps {sorted(OPTIONAL_KEYS)}."
            )
        if (
            entry["iterations"] < 1
            or not 0 < entry["target_share"] <= 1
            or not 0 < entry["portion"] <= 1
            or entry.get("lr_factor", 1.0) <= 0
        ):
            raise ValueError(
                f"SelfTrainingHook.rounds[{number - 1}] is {dict(entry)}; iterations must be >= 1, portion and "
                "target_share in (0, 1], lr_factor > 0."
            )
    lengths = [warmup_iterations, *(entry["iterations"] for entry in rounds)]
    if warmup_iterations < 0 or sum(lengths) != max_iters:
        raise ValueError(
            f"The round schedule does not fit: warmup_iterations={warmup_iterations} and rounds of "
            f"{lengths[1:]} iterations make {sum(lengths)}, train_cfg.max_iters is {max_iters}. Set "
            f"train_cfg.max_iters={sum(lengths)} or change the rounds."
        )
    ends = list(accumulate(lengths))
    begins = [0, *ends[:-1]]
    phases = [Phase(0, 0, warmup_iterations, 0.0, 0.0)] + [
        Phase(
            number,
            begins[number],
            ends[number],
            entry["target_share"],
            entry["portion"],
            entry.get("lr_factor", 1.0),
            entry.get("restart", False),
        )
        for number, entry in enumerate(rounds, 1)
    ]
    return [phase for phase in phases if phase.end > phase.begin]


@HOOKS.register_module()
class SelfTrainingHook(Hook):
    """Labels the target training images at the start of every round and changes the batch's mixture.

    Labels of a round are an artefact in ``<work_dir>/pseudo_labels/round_<r>``. Everything the hook needs after an
    interruption follows from the iteration and from that folder. Metrics of every evaluation and the labels' coverage
    are kept per round in ``<work_dir>/rounds.json``.

    Args:
        rounds: One dictionary per round with ``iterations``, ``portion`` (share of pixels to label per predicted
            class) and ``target_share`` (share of target images in the batches); optionally ``lr_factor`` (on the
            schedule's learning rate, default 1) and ``restart`` (default False): once the labels are made, go back to
            the weights at the end of the warm-up, with a fresh optimizer state; a teacher starts over with them.
        warmup_iterations: Steps on the source before round 1.
        labeller: Arguments of `PseudoLabeller` other than ``portion``.
        pipeline: Transforms that load a target image for labelling, without random ones; they must pack
            ``sample_id`` and ``ori_shape``. By default the whole image at its own size.
        evaluate_rounds: Run the validation loop at the end of the warm-up and of every round.
        num_workers: Loader processes while labelling.
        label_with: ``student``, or ``teacher`` where a `TeacherHook` keeps one.

    Raises:
        ValueError: `label_with` is something else.
    """

    # After CheckpointHook (VERY_LOW): a checkpoint at the end of a round exists before labelling begins.
    priority = "LOWEST"

    def __init__(
        self,
        *,
        rounds: Sequence[dict],
        warmup_iterations: int,
        labeller: dict | None = None,
        pipeline: Sequence[dict] | None = None,
        evaluate_rounds: bool = True,
        num_workers: int = 0,
        label_with: str = "student",
    ) -> None:
        if label_with not in ("student", "teacher"):
            raise ValueError(f"label_with must be 'student' or 'teacher', found {label_with!r}.")
        self.label_with = label_with
        self.rounds = [dict(entry) for entry in rounds]
        self.warmup_iterations = warmup_iterations
        self.labeller = dict(labeller or {})
        self.pipeline = list(pipeline or LABELLING_PIPELINE)
        self.evaluate_rounds = evaluate_rounds
        self.num_workers = num_workers
        self.phases: list[Phase] = []
        self._lr_factor = 1.0
        self._evaluated_iteration: int | None = None

    def _check(self, runner: Runner) -> None:
        """Check schedule, dataset, loader and sampler before anything is trained."""
        self.phases = build_phases(self.warmup_iterations, self.rounds, runner.train_loop.max_iters)
        dataloader = runner.train_dataloader
        dataset, sampler = dataloader.dataset, dataloader.sampler
        if not isinstance(dataset, TwoDomainDataset) or not isinstance(sampler, TwoDomainSampler):
            raise TypeError(
                "SelfTrainingHook needs train_dataloader with dataset TwoDomainDataset and sampler TwoDomainSampler, "
                f"found {type(dataset).__name__} and {type(sampler).__name__}."
            )
        if dataloader.num_workers > 0 and dataloader.persistent_workers:
            raise ValueError(
                "train_dataloader.persistent_workers=True keeps loader processes that never see a new round's labels; "
                "set it to False."
            )
        if self.rounds and "target" not in dataset.domains:
            raise TypeError(
                "SelfTrainingHook has rounds, but train_dataloader.dataset has no target. Add "
                "target=dict(type='UnlabelledDataset', ...)."
            )
        # Fails early where there is no teacher.
        self._model(runner).networks(of_teacher=self.label_with == "teacher")

    def before_train(self, runner: Runner) -> None:
        """Check the setting, and bring data and model to the phase in which the run starts or resumes.

        Raises:
            ValueError: The schedule does not fit ``max_iters``, or loader processes outlive a round.
            FileNotFoundError: A round restarts from the warm-up and its weights are gone.
            TypeError: The training data are not a `TwoDomainDataset` with a `TwoDomainSampler` and a target.
        """
        self._check(runner)
        scale_steps(self._optimizers(runner), lambda: self._lr_factor)
        phase = self._phase_of(runner.iter)
        resumed = runner.iter > phase.begin
        if runner.iter == 0 and is_main_process():
            # A record that an earlier run left in this folder is not about this one.
            (Path(runner.work_dir) / RECORD).unlink(missing_ok=True)
        barrier()
        if phase.begin > 0 and not resumed:
            # The checkpoint of a phase's end is written before its evaluation: a kill may have come between.
            self._evaluate(runner, finished=runner.iter)
        self._enter(runner, phase, resumed=resumed)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Tell the model where the run stands."""
        phase = self._phase_of(runner.iter)
        self._model(runner).progress = AdaptationProgress(
            round=phase.number, adaptation_iteration=runner.iter - self.warmup_iterations
        )

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """At the end of a phase evaluate, label, and enter the next one."""
        finished = runner.iter + 1
        if finished >= self.phases[-1].end or all(phase.begin != finished for phase in self.phases):
            return
        self._evaluate(runner, finished=finished)
        self._enter(runner, self._phase_of(finished), resumed=False)
        runner.train_loop.dataloader_iterator.skip_iter(finished)

    def _evaluate(self, runner: Runner, *, finished: int) -> None:
        """Evaluate at the end of a phase, unless that was done or the loop does it by itself."""
        previous = str(self._phase_of(finished - 1).number)
        done = self._read_record(runner).get(previous, {}).get("iteration") == finished
        loops_own = finished % runner.train_loop.val_interval == 0 and runner.iter < finished
        if not self.evaluate_rounds or runner.val_loop is None or done or loops_own:
            return
        # Between two steps runner.iter still counts the one that just ended.
        self._evaluated_iteration = finished
        runner.val_loop.run()
        self._evaluated_iteration = None

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Keep the metrics with the round that they belong to."""
        if self.phases and metrics:
            iteration = self._evaluated_iteration or runner.iter
            number = self._phase_of(iteration - 1).number
            # JSON has no NaN; a class that does not occur has no IoU.
            plain = {name: float(value) for name, value in metrics.items()}
            plain = {name: None if isnan(value) else value for name, value in plain.items()}
            self._record(runner, number, iteration=iteration, metrics=plain)

    def _phase_of(self, iteration: int) -> Phase:
        for phase in self.phases:
            if iteration < phase.end:
                return phase
        return self.phases[-1]

    def _enter(self, runner: Runner, phase: Phase, *, resumed: bool) -> None:
        """Set mixture and labels of a phase; label first where the phase begins here."""
        dataloader = runner.train_dataloader
        dataloader.sampler.begin_phase(
            phase=phase.number,
            first_position=phase.begin * dataloader.batch_size,
            target_share=phase.target_share,
        )
        self._lr_factor = phase.lr_factor
        if phase.number == 0:
            dataloader.dataset.set_pseudo_labels(None)
            return
        artefact = PseudoLabelArtefact(
            Path(runner.work_dir) / "pseudo_labels" / f"round_{phase.number}"
        )
        manifest = artefact.read_manifest()
        if resumed:
            self._check_resumed(runner, artefact, manifest)
        else:
            manifest = self._label(runner, phase, artefact, manifest)
            # Goes into every checkpoint of the round: a resumed run knows its labels by it.
            runner.message_hub.update_info(LABELS_KEY, manifest.model_hash)
            if any(other.restart for other in self.phases):
                self._keep_or_restore_warmup(runner, phase)
        dataloader.dataset.set_pseudo_labels(str(artefact.root))

    def _keep_or_restore_warmup(self, runner: Runner, phase: Phase) -> None:
        """Before the first round keep the weights; where a round restarts, bring them back.

        Raises:
            FileNotFoundError: The file is gone.
            ValueError: The file is of another run.
        """
        path = Path(runner.work_dir) / WARMUP
        model = self._model(runner)
        networks = model.networks()
        if phase.number == 1:
            if is_main_process():
                temporary = path.with_suffix(".tmp")
                torch.save(networks.state_dict(), temporary)
                os.replace(temporary, path)
            barrier()
            runner.message_hub.update_info(WARMUP_KEY, model_hash(networks))
        if not phase.restart:
            return
        if not path.is_file():
            raise FileNotFoundError(
                f"Round {phase.number} restarts from the warm-up, but there is no {path}. Restore it, or start again."
            )
        networks.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        if model_hash(networks) != runner.message_hub.get_info(WARMUP_KEY):
            raise ValueError(
                f"{path} holds other weights than this run's warm-up ended with. Restore it, or start again."
            )
        for optimizer in self._optimizers(runner):
            optimizer.state.clear()
        if model.teacher is not None:
            model.teacher.steps.zero_()
        runner.logger.info(f"Round {phase.number}: restarted from the weights of the warm-up.")

    @staticmethod
    def _check_resumed(
        runner: Runner, artefact: PseudoLabelArtefact, manifest: RoundManifest | None
    ) -> None:
        """Refuse to resume inside a round without the labels that it trained on."""
        if manifest is None:
            problems = [f"{artefact.root}: no manifest"]
        elif manifest.model_hash != runner.message_hub.get_info(LABELS_KEY):
            problems = [f"{artefact.root}: made by another model than the checkpoint names"]
        else:
            problems = artefact.problems(manifest)
        if problems:
            raise ValueError(
                "The run was interrupted inside a round whose pseudo labels are damaged: "
                f"{'; '.join(problems[:5])}{' ...' if len(problems) > 5 else ''}. Restore the folder, or resume from "
                "a checkpoint at or before the beginning of the round."
            )

    def _label(
        self,
        runner: Runner,
        phase: Phase,
        artefact: PseudoLabelArtefact,
        manifest: RoundManifest | None,
    ) -> RoundManifest:
        """Label all target images, or keep a complete artefact of the same model and settings."""
        model = self._model(runner)
        networks = model.networks(of_teacher=self.label_with == "teacher")
        target = runner.train_dataloader.dataset.domains["target"]
        labeller = PseudoLabeller(portion=phase.portion, **self.labeller)
        if (
            manifest is not None
            and manifest.model_hash == model_hash(networks["segmentor"])
            and manifest.policy == labeller.settings()
            and manifest.classes == list(target.metainfo["classes"])
            and not artefact.problems(manifest)
        ):
            action = "kept the"
        else:
            action = "made"
            dataset = copy.copy(target)
            dataset.pipeline = Compose(self.pipeline)
            manifest = labeller.label(
                model=model,
                networks=networks,
                dataset=dataset,
                artefact=artefact,
                round_number=phase.number,
                num_workers=self.num_workers,
            )
        runner.logger.info(
            f"Round {phase.number}: {action} pseudo labels in {artefact.root}; "
            f"{100 * manifest.coverage:.1f} % of pixels labelled."
        )
        self._record(
            runner,
            phase.number,
            labels=dict(
                coverage=manifest.coverage,
                kept_share=manifest.kept_share,
                thresholds=manifest.thresholds,
            ),
        )
        return manifest

    @staticmethod
    def _read_record(runner: Runner) -> dict[str, dict]:
        """Content of rounds.json."""
        path = Path(runner.work_dir) / RECORD
        return json.loads(path.read_text()) if path.is_file() else {}

    @staticmethod
    def _record(runner: Runner, number: int, **values: Any) -> None:
        """Merge values into this round's entry of rounds.json."""
        if not is_main_process():
            return
        path = Path(runner.work_dir) / RECORD
        rounds = SelfTrainingHook._read_record(runner)
        rounds.setdefault(str(number), {}).update(values)
        write_atomically(path, json.dumps(rounds, indent=1))

    @staticmethod
    def _optimizers(runner: Runner) -> list[Optimizer]:
        wrapper = runner.optim_wrapper
        wrappers = wrapper.values() if isinstance(wrapper, OptimWrapperDict) else [wrapper]
        return [each.optimizer for each in wrappers]

    @staticmethod
    def _model(runner: Runner) -> UDASegmentor:
        return runner.model.module if is_model_wrapper(runner.model) else runner.model
