"""Self-training inside one run: warm-up, then rounds of labelling and training."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import isnan
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import barrier, broadcast_object_list, is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapperDict
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch import nn
from torch.optim import Optimizer

from ...datasets.samplers import TwoDomainSampler
from ...datasets.two_domain import TwoDomainDataset
from ...datasets.unlabelled import WHOLE_IMAGE_PIPELINE, UnlabelledDataset
from ...models.normalisation import share_buffers
from ...models.segmentors import UDASegmentor
from ...models.terms import AdaptationProgress
from ...self_training import PseudoLabelArtefact, PseudoLabeller, RoundManifest, model_hash
from ...self_training.artefact import write_atomically
from ...self_training.label_analysis import artefact_quality, labelled_among
from ..step_factor import scale_steps

RECORD = "rounds.json"
LABELS_KEY = "pseudo_label_model_hash"
WARMUP = "warmup_weights.pth"
WARMUP_KEY = "warmup_model_hash"
REQUIRED_KEYS = {"iterations", "target_share"}
OPTIONAL_KEYS = {"portion", "lr_factor", "restart", "labelled"}


@dataclass(frozen=True)
class Phase:
    """A stretch of training with one mixture of the domains; phase 0 is the warm-up.

    Attributes:
        number: 0 for the warm-up, else the round.
        begin: First iteration.
        end: Iteration after the last.
        target_share: Share of target images in [0, 1].
        portion: Share of pixels to label per predicted class; None where the policy takes none, or nothing is labelled.
        lr_factor: Factor on the schedule's learning rate.
        restart: Begin from the weights that the warm-up ended with.
        labelled: Pseudo labels of the target images are made where the phase begins.
    """

    number: int
    begin: int
    end: int
    target_share: float
    portion: float | None
    lr_factor: float = 1.0
    restart: bool = False
    labelled: bool = True


def build_phases(
    warmup_iterations: int, rounds: Sequence[dict], max_iters: int, *, online: bool = False
) -> list[Phase]:
    """Lay the rounds out on the iterations of a run.

    Args:
        warmup_iterations: Steps on the source before the first round; 0 starts from a loaded checkpoint.
        rounds: One dictionary per round with ``iterations`` and ``target_share``, and optionally ``portion``,
            ``lr_factor``, ``restart`` and ``labelled``.
        max_iters: Length of the run.
        online: No round is labelled, whatever it says.

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
            or not ("portion" not in entry or 0 < entry["portion"] <= 1)
            or entry.get("lr_factor", 1.0) <= 0
        ):
            raise ValueError(
                f"SelfTrainingHook.rounds[{number - 1}] is {dict(entry)}; iterations must be >= 1, portion and "
                "target_share in (0, 1], lr_factor > 0."
            )
        if "portion" in entry and not entry.get("labelled", True):
            raise ValueError(
                f"SelfTrainingHook.rounds[{number - 1}] is {dict(entry)}: a round with labelled=False labels no "
                "portion of the pixels; leave one of the two out."
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
    warmup = Phase(0, 0, warmup_iterations, target_share=0.0, portion=None, labelled=False)
    phases = [warmup] + [
        Phase(
            number,
            begins[number],
            ends[number],
            target_share=entry["target_share"],
            portion=entry.get("portion"),
            lr_factor=entry.get("lr_factor", 1.0),
            restart=entry.get("restart", False),
            labelled=not online and entry.get("labelled", True),
        )
        for number, entry in enumerate(rounds, 1)
    ]
    return [phase for phase in phases if phase.end > phase.begin]


class DamagedLabelsError(ValueError):
    """A run resumes inside a round whose labels are not those that it trained on."""


def _manifest_or_none(artefact: PseudoLabelArtefact) -> RoundManifest | None:
    """The manifest; None where there is none that can be read, since such a folder is made anew."""
    try:
        return artefact.read_manifest()
    except ValueError:
        return None


@HOOKS.register_module()
class SelfTrainingHook(Hook):
    """Labels the target training images at the start of every round and changes the batch's mixture.

    Labels of a round are an artefact in ``<work_dir>/pseudo_labels/round_<r>``. Everything the hook needs after an
    interruption follows from the iteration and from that folder. Metrics of every evaluation and the labels' coverage
    are kept per round in ``<work_dir>/rounds.json``, with label-free scores of the model: entropy, soft neighbourhood
    density, agreement with the labels of the round before.

    Args:
        rounds: One dictionary per round with ``iterations`` and ``target_share`` (share of target images in the
            batches); optionally ``portion`` (share of pixels to label per predicted class, for policies that take
            one), ``lr_factor`` (on the schedule's learning rate, default 1), ``restart`` (default False): once the
            labels are made, go back to the weights at the end of the warm-up, with a fresh optimizer state; a teacher
            starts over with them; and ``labelled`` (default True): False makes no labels for this round, whose target
            images then only take part in the batches.
        warmup_iterations: Steps on the source before round 1.
        labeller: Arguments of `PseudoLabeller` other than ``portion`` and ``pipeline``.
        pipeline: Transforms that load a target image for labelling, without random ones; they must pack
            ``sample_id`` and ``ori_shape``. By default the whole image at its own size.
        evaluate_rounds: Run the validation loop at the end of the warm-up and of every round.
        num_workers: Loader processes while labelling.
        label_with: ``student``, or ``teacher`` where a `TeacherHook` keeps one.
        online: Make no labels: rounds only set the mixture, and a term such as `ClassMixTerm` labels every batch.
        damaged: What to do where a run resumes inside a round and its labels are gone or damaged: ``refuse``, or
            ``remake`` them with the present model, which is no longer the same run.
        analysis: Compare every round's labels with those of `analysis_dataset`, for a report; never used in training.
        analysis_dataset: Config of the labelled target training images (`LabelledImageDataset` or a subclass).

    Raises:
        ValueError: `label_with` or `damaged` is something else, or the analysis lacks its dataset.
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
        online: bool = False,
        damaged: str = "refuse",
        analysis: bool = False,
        analysis_dataset: dict | None = None,
    ) -> None:
        if label_with not in ("student", "teacher"):
            raise ValueError(f"label_with must be 'student' or 'teacher', found {label_with!r}.")
        if damaged not in ("refuse", "remake"):
            raise ValueError(f"damaged must be 'refuse' or 'remake', found {damaged!r}.")
        if analysis and analysis_dataset is None:
            raise ValueError("analysis=True needs analysis_dataset, the labelled target images.")
        self.online = online
        self.damaged = damaged
        # Without analysis the labelled dataset is never built.
        self.analysis_dataset = analysis_dataset if analysis else None
        self.label_with = label_with
        self.rounds = [dict(entry) for entry in rounds]
        self.warmup_iterations = warmup_iterations
        self.labeller = dict(labeller or {})
        self.pipeline = list(pipeline or WHOLE_IMAGE_PIPELINE)
        self.evaluate_rounds = evaluate_rounds
        self.num_workers = num_workers
        self.phases: list[Phase] = []
        self._labelled: dict[str, dict] | None = None
        self._lr_factor = 1.0

    def _check(self, runner: Runner) -> None:
        """Check schedule, dataset, loader and sampler before anything is trained."""
        self.phases = build_phases(
            self.warmup_iterations,
            self.rounds,
            runner.train_loop.max_iters,
            online=self.online,
        )
        if getattr(runner.train_loop, "fast_forward_on_resume", False):
            raise ValueError(
                "train_cfg.fast_forward_on_resume=True would skip steps of the present round's stream: set it to False."
            )
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
        if self.rounds and not isinstance(dataset.domains["target"], UnlabelledDataset):
            raise TypeError(
                f"The target is a {type(dataset.domains['target']).__name__}, expected an UnlabelledDataset: put "
                "several folders below one data_root, or name their images in one ann_file."
            )
        # What the rounds need and lack shows before the warm-up, not after it.
        networks = self._model(runner).networks(of_teacher=self.label_with == "teacher")
        for phase in self.phases:
            if phase.labelled:
                self._labeller(phase).predictor(networks)
        if self.rounds and self.analysis_dataset is not None:
            self._labelled = labelled_among(self._target(runner)[1], self.analysis_dataset)

    def before_train(self, runner: Runner) -> None:
        """Check the setting, and bring data and model to the phase in which the run starts or resumes.

        Raises:
            ValueError: The schedule does not fit ``max_iters``, loader processes outlive a round, or the loop would
                skip a round's steps.
            FileNotFoundError: A round restarts from the warm-up and its weights are gone.
            TypeError: The training data are not a `TwoDomainDataset` with a `TwoDomainSampler` and a target.
        """
        self._check(runner)
        if runner.iter >= runner.train_loop.max_iters:
            # Nothing is left to train.
            return
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
        # What is evaluated, labels and is kept for a restart is one model, that of the checkpoint.
        share_buffers(self._model(runner))
        self._evaluate(runner, finished=finished)
        self._enter(runner, self._phase_of(finished), resumed=False)
        runner.train_loop.dataloader_iterator.skip_iter(finished)

    def _evaluate(self, runner: Runner, *, finished: int) -> None:
        """Evaluate at the end of a phase, unless that was done or the loop does it by itself."""
        previous = str(self._phase_of(finished - 1).number)
        done = self._read_record(runner).get(previous, {}).get("iteration") == finished
        loop = runner.train_loop
        loops_own = (
            runner.iter < finished
            and finished >= loop.val_begin
            and finished % loop.val_interval == 0
            # After a restart the loop would evaluate the warm-up.
            and not self._phase_of(finished).restart
        )
        if not self.evaluate_rounds or runner.val_loop is None or done or loops_own:
            return
        counted = runner.iter
        # Between two steps runner.iter still counts the one that just ended.
        loop._iter = finished
        try:
            runner.val_loop.run()
        finally:
            loop._iter = counted

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Keep the metrics with the round that they belong to."""
        if self.phases and metrics:
            number = self._phase_of(runner.iter - 1).number
            if self._read_record(runner).get(str(number), {}).get("iteration") == runner.iter:
                # The model may have restarted since.
                return
            # JSON has no NaN; a class that does not occur has no IoU.
            plain = {name: float(value) for name, value in metrics.items()}
            plain = {name: None if isnan(value) else value for name, value in plain.items()}
            self._record(runner, number, iteration=runner.iter, metrics=plain)

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
        root = None
        if phase.labelled:
            root = str(self._labels_of(runner, phase, resumed=resumed).root)
        if phase.number and not resumed and any(other.restart for other in self.phases):
            self._keep_or_restore_warmup(runner, phase)
        dataloader.dataset.set_pseudo_labels(root)

    def _labeller(self, phase: Phase) -> PseudoLabeller:
        return PseudoLabeller(portion=phase.portion, pipeline=self.pipeline, **self.labeller)

    @staticmethod
    def _artefact(runner: Runner, number: int) -> PseudoLabelArtefact:
        return PseudoLabelArtefact(Path(runner.work_dir) / "pseudo_labels" / f"round_{number}")

    def _labels_of(self, runner: Runner, phase: Phase, *, resumed: bool) -> PseudoLabelArtefact:
        """The round's labels: those that it trained on, or new ones where it begins."""
        artefact = self._artefact(runner, phase.number)
        if resumed:
            try:
                self._check_resumed(runner, artefact)
                return artefact
            except DamagedLabelsError as error:
                if self.damaged == "refuse":
                    raise
                runner.logger.warning(f"{error} Making them again with the present model.")
                barrier()
        manifest = self._label(runner, phase, artefact)
        # Goes into every checkpoint of the round: a resumed run knows its labels by it.
        runner.message_hub.update_info(LABELS_KEY, manifest.model_hash)
        return artefact

    def _keep_or_restore_warmup(self, runner: Runner, phase: Phase) -> None:
        """Before the first round keep the weights; where a round restarts, bring them back.

        Raises:
            FileNotFoundError: The file is gone.
            ValueError: The file is of another run.
        """
        path = Path(runner.work_dir) / WARMUP
        model = self._model(runner)
        # Discriminators and their gates, too: they would know what the rounds before did.
        networks = nn.ModuleDict(
            dict(model.networks(), discriminators=model.discriminators, terms=model.terms)
        )
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
            optimizer.zero_grad()
        if model.teacher is not None and model.teacher.steps > 0:
            # Step 0 copies; one that has not begun is the student.
            model.teacher.steps.zero_()
            model.teacher.update_parameters(model.networks())
        runner.logger.info(f"Round {phase.number}: restarted from the weights of the warm-up.")

    @staticmethod
    def _target(runner: Runner) -> tuple[UnlabelledDataset, dict[str, Path]]:
        """The target dataset, and its image file of each image id."""
        target = runner.train_dataloader.dataset.domains["target"]
        infos = (target.get_data_info(index) for index in range(len(target)))
        return target, {info["sample_id"]: Path(info["img_path"]) for info in infos}

    def _check_resumed(self, runner: Runner, artefact: PseudoLabelArtefact) -> None:
        """Refuse to resume inside a round without the labels that it trained on."""
        target, images = self._target(runner)
        try:
            problems = artefact.check(
                artefact.read_manifest(),
                classes=target.metainfo["classes"],
                images=images,
                model_hash=runner.message_hub.get_info(LABELS_KEY),
            )
        except ValueError as error:
            problems = [str(error)]
        if problems:
            raise DamagedLabelsError(
                "The run was interrupted inside a round whose pseudo labels are damaged: "
                f"{'; '.join(problems[:5])}{' ...' if len(problems) > 5 else ''}. Restore the folder, or resume from "
                "a checkpoint at or before the beginning of the round."
            )

    def _label(self, runner: Runner, phase: Phase, artefact: PseudoLabelArtefact) -> RoundManifest:
        """Label all target images, or keep a complete artefact of the same model and settings."""
        model = self._model(runner)
        manifest = _manifest_or_none(artefact)
        target, images = self._target(runner)
        networks = model.networks(of_teacher=self.label_with == "teacher")
        labeller = self._labeller(phase)
        fits = (
            manifest is not None
            and manifest.policy == labeller.settings(networks)
            and not artefact.check(
                manifest,
                classes=target.metainfo["classes"],
                images=images,
                model_hash=model_hash(labeller.predictor(networks)),
            )
        )
        # Every rank has looked before one of them clears the folder, and all do what the first one found.
        decision = [fits]
        barrier()
        broadcast_object_list(decision)
        if manifest is not None and decision[0]:
            action = "kept the"
        else:
            action = "made"
            before = self._artefact(runner, phase.number - 1)
            before_manifest = _manifest_or_none(before)
            comparable = before_manifest is not None and not before.problems(before_manifest)
            manifest = labeller.label(
                model=model,
                networks=networks,
                dataset=target,
                artefact=artefact,
                round_number=phase.number,
                num_workers=self.num_workers,
                previous=before if comparable else None,
            )
        scores = ", ".join(f"{name} {value:.3f}" for name, value in manifest.scores.items())
        runner.logger.info(
            f"Round {phase.number}: {action} pseudo labels in {artefact.root}; "
            f"{100 * manifest.coverage:.1f} % of pixels labelled; {scores}."
        )
        self._record(
            runner,
            phase.number,
            labels=dict(
                coverage=manifest.coverage,
                kept_share=manifest.kept_share,
                thresholds=manifest.thresholds,
                scores=manifest.scores,
            ),
        )
        if self._labelled is not None and is_main_process():
            quality = artefact_quality(artefact, self._labelled, manifest.classes)
            self._record(runner, phase.number, analysis=quality)
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
