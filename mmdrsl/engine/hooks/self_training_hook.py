"""Self-training inside one run: warm-up, then rounds of labeling and training."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from contextlib import suppress
from math import isnan
from pathlib import Path
from typing import Any

from mmengine.dist import barrier, broadcast_object_list, is_main_process
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmdrsl.atomic_files import write_atomically
from mmdrsl.datasets.samplers.two_domain_sampler import TwoDomainSampler
from mmdrsl.datasets.two_domain import TwoDomainDataset
from mmdrsl.datasets.unlabeled import WHOLE_IMAGE_PIPELINE, UnlabelledDataset
from mmdrsl.engine.adaptation_hook import AdaptationHook
from mmdrsl.engine.model_access import unwrapped
from mmdrsl.engine.round_record import RECORD, read_rounds
from mmdrsl.engine.round_schedule import Phase, build_phases
from mmdrsl.engine.run_checks import check_loop
from mmdrsl.mmengine_private import counted_as, has_training_loop
from mmdrsl.models.adaptation_step import AdaptationProgress
from mmdrsl.models.batch_norm import share_buffers
from mmdrsl.pseudo_labels.artifact import PseudoLabelArtifact, RoundManifest
from mmdrsl.pseudo_labels.label_analysis import artifact_quality, labeled_among
from mmdrsl.pseudo_labels.label_collapse import collapse_problems, shown_classes
from mmdrsl.pseudo_labels.labeler import PseudoLabeler, model_hash
from mmdrsl.renamed import renamed_arguments

LABELS_KEY = "pseudo_label_model_hash"


def _manifest_or_none(artifact: PseudoLabelArtifact) -> RoundManifest | None:
    """The manifest; None where there is none that can be read, since such a folder is made anew."""
    try:
        return artifact.read_manifest()
    except ValueError:
        return None


@HOOKS.register_module()
@renamed_arguments(labeller="labeler")
class SelfTrainingHook(AdaptationHook):
    """Labels the target training images at the start of every round and changes the batch's mixture.

    Labels of a round are an artifact in ``<work_dir>/pseudo_labels/round_<r>``. Everything the hook needs after an
    interruption follows from the iteration and from that folder. Metrics of every evaluation and the labels' coverage
    are kept per round in ``<work_dir>/rounds.json``, with label-free scores of the model: entropy, soft neighborhood
    density, agreement with the labels of the round before.

    Args:
        rounds: One dictionary per round with ``iterations`` and ``target_share`` (share of target images in the
            batches); optionally ``portion`` (share of pixels to label per predicted class, for policies that take
            one).
        warmup_iterations: Steps on the source before round 1.
        labeler: Arguments of `PseudoLabeler` other than ``portion`` and ``pipeline``.
        pipeline: Transforms that load a target image for labeling, without random ones; they must pack
            ``sample_id`` and ``ori_shape``. By default the whole image at its own size.
        evaluate_rounds: Run the validation loop at the end of the warm-up and of every round.
        num_workers: Loader processes while labeling.
        label_with: ``student``, or ``teacher`` where a `MeanTeacherHook` keeps one.
        online: Make no labels: rounds only set the mixture, and a term such as `ClassMixTerm` labels every batch.
        analysis: Compare every round's labels with those of `analysis_dataset`, for a report; never used in training.
        analysis_dataset: Config of the labeled target training images (`LabelledImageDataset` or a subclass).
        collapsed_labels: What to do where a round labels no pixel, far fewer than its portion, or none of a class that
            the source shows: ``warn`` or ``stop``.

    Raises:
        ValueError: `label_with` or `collapsed_labels` is something else, or the analysis lacks its dataset.
    """

    acts_in_warmup = False

    # After CheckpointHook (VERY_LOW): a checkpoint that is due at the end of a round exists before labeling begins.
    priority = "LOWEST"

    def __init__(
        self,
        *,
        rounds: Sequence[dict],
        warmup_iterations: int,
        labeler: dict | None = None,
        pipeline: Sequence[dict] | None = None,
        evaluate_rounds: bool = True,
        num_workers: int = 0,
        label_with: str = "student",
        online: bool = False,
        analysis: bool = False,
        analysis_dataset: dict | None = None,
        collapsed_labels: str = "warn",
    ) -> None:
        if label_with not in ("student", "teacher"):
            raise ValueError(f"label_with must be 'student' or 'teacher', found {label_with!r}.")
        if analysis and analysis_dataset is None:
            raise ValueError("analysis=True needs analysis_dataset, the labeled target images.")
        if collapsed_labels not in ("warn", "stop"):
            raise ValueError(
                f"collapsed_labels must be 'warn' or 'stop', found {collapsed_labels!r}."
            )
        self.collapsed_labels = collapsed_labels
        self.online = online
        # Without analysis the labeled dataset is never built.
        self.analysis_dataset = analysis_dataset if analysis else None
        self.label_with = label_with
        self.rounds = [dict(entry) for entry in rounds]
        self.warmup_iterations = warmup_iterations
        self.labeler = dict(labeler or {})
        self.pipeline = list(pipeline or WHOLE_IMAGE_PIPELINE)
        self.evaluate_rounds = evaluate_rounds
        self.num_workers = num_workers
        self.phases: list[Phase] = []
        self._labeled: dict[str, dict] | None = None
        self._source_classes: list[str] | None = None

    def before_run(self, runner: Runner) -> None:
        """Check the setting, lay the phases out, and tell the model of them, where other hooks find them.

        Raises:
            ValueError: The schedule does not fit ``max_iters``, loader processes outlive a round, or the loop would
                skip a round's steps.
            TypeError: The loop goes by epochs, or the training data are not a `TwoDomainDataset` with a
                `TwoDomainSampler` and a target.
        """
        # A test has no training loop.
        if not has_training_loop(runner):
            return
        check_loop(runner)
        self.phases = build_phases(
            self.warmup_iterations, self.rounds, runner.train_loop.max_iters, online=self.online
        )
        unwrapped(runner).phases = tuple(self.phases)
        self._check(runner)

    def _check(self, runner: Runner) -> None:
        """Check schedule, dataset, loader and sampler before anything is trained."""
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
        model = unwrapped(runner)
        for phase in self.phases:
            if phase.number > 0:
                self._check_teacher(model, phase)
            if phase.labeled:
                networks = model.networks(of_teacher=self.label_with == "teacher")
                self._labeler(phase).predictor(networks)
        if self.rounds and self.analysis_dataset is not None:
            target, images = self._target(runner)
            self._labeled = labeled_among(images, self.analysis_dataset, target.metainfo["classes"])

    def _check_teacher(self, model: Any, phase: Phase) -> None:
        """Refuse a round that reads a teacher which is not there by then."""
        readers = [name for name, term in model.terms.items() if term.needs_teacher]
        if phase.labeled and self.label_with == "teacher":
            readers.append("label_with='teacher'")
        if readers and (model.teacher is None or model.teacher_begin > phase.begin):
            begin = (
                "none"
                if model.teacher is None
                else f"one that begins after step {model.teacher_begin}"
            )
            raise ValueError(
                f"{readers} read a teacher from step {phase.begin} on, and there is {begin}: set default_hooks=dict("
                f"teacher=dict(type='MeanTeacherHook', begin=...)) with begin at most {phase.begin}."
            )

    def before_train(self, runner: Runner) -> None:
        """Bring data and model to the phase in which the run starts or resumes."""
        if runner.iter > 0:
            # What cannot be read shows before the first step, not after a round.
            read_rounds(runner.work_dir)
        if runner.iter >= runner.train_loop.max_iters:
            # Nothing is left to train.
            return
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

    def preflight(self, runner: Runner, model: Any) -> None:
        """Label one target image as the rounds will, and write the files of its labels."""
        phase = next((phase for phase in self.phases if phase.labeled), None)
        if phase is None:
            return
        folder = Path(runner.work_dir) / "pseudo_labels"
        artifact = PseudoLabelArtifact(folder / ".preflight")
        if is_main_process():
            # Of a run that was killed in it.
            shutil.rmtree(artifact.root, ignore_errors=True)
        barrier()
        try:
            self._labeler(phase).label(
                model=model,
                networks=model.networks(of_teacher=self.label_with == "teacher"),
                dataset=self._target(runner)[0].get_subset([0]),
                artifact=artifact,
                round_number=phase.number,
            )
        finally:
            if is_main_process():
                shutil.rmtree(artifact.root, ignore_errors=True)
                with suppress(OSError):
                    # Only where nothing else is in it.
                    folder.rmdir()

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Tell the model where the run stands."""
        phase = self._phase_of(runner.iter)
        unwrapped(runner).progress = AdaptationProgress(
            round=phase.number, adaptation_iteration=runner.iter - self.warmup_iterations
        )

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """At the end of a phase evaluate, label, and enter the next one."""
        finished = runner.iter + 1
        if finished >= self.phases[-1].end or all(phase.begin != finished for phase in self.phases):
            return
        # What is evaluated and labels is one model, that of the checkpoint.
        share_buffers(unwrapped(runner))
        self._evaluate(runner, finished=finished)
        self._enter(runner, self._phase_of(finished), resumed=False)
        runner.train_loop.dataloader_iterator.skip_iter(finished)

    def _evaluate(self, runner: Runner, *, finished: int) -> None:
        """Evaluate at the end of a phase, unless that was done or the loop does it by itself."""
        previous = str(self._phase_of(finished - 1).number)
        done = read_rounds(runner.work_dir).get(previous, {}).get("iteration") == finished
        loop = runner.train_loop
        loops_own = (
            runner.iter < finished
            and finished >= loop.val_begin
            and finished % loop.val_interval == 0
        )
        if not self.evaluate_rounds or runner.val_loop is None or done or loops_own:
            return
        with counted_as(loop, finished):
            runner.val_loop.run()

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Keep the metrics with the round that they belong to."""
        if self.phases and metrics:
            number = self._phase_of(runner.iter - 1).number
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
        root = None
        if phase.labeled:
            root = str(self._labels_of(runner, phase, resumed=resumed).root)
        dataloader.dataset.set_pseudo_labels(root)

    def _labeler(self, phase: Phase) -> PseudoLabeler:
        return PseudoLabeler(portion=phase.portion, pipeline=self.pipeline, **self.labeler)

    @staticmethod
    def _artifact(runner: Runner, number: int) -> PseudoLabelArtifact:
        return PseudoLabelArtifact(Path(runner.work_dir) / "pseudo_labels" / f"round_{number}")

    def _labels_of(self, runner: Runner, phase: Phase, *, resumed: bool) -> PseudoLabelArtifact:
        """The round's labels: those that it trained on, or new ones where it begins."""
        artifact = self._artifact(runner, phase.number)
        if resumed:
            self._check_resumed(runner, artifact)
            if is_main_process():
                artifact.clear_leftovers()
            return artifact
        manifest = self._label(runner, phase, artifact)
        # Goes into every checkpoint of the round: a resumed run knows its labels by it.
        runner.message_hub.update_info(LABELS_KEY, manifest.model_hash)
        return artifact

    @staticmethod
    def _target(runner: Runner) -> tuple[UnlabelledDataset, dict[str, Path]]:
        """The target dataset, and its image file of each image id."""
        target = runner.train_dataloader.dataset.domains["target"]
        infos = (target.get_data_info(index) for index in range(len(target)))
        return target, {info["sample_id"]: Path(info["img_path"]) for info in infos}

    def _check_resumed(self, runner: Runner, artifact: PseudoLabelArtifact) -> None:
        """Refuse to resume inside a round without the labels that it trained on."""
        target, images = self._target(runner)
        try:
            problems = artifact.check(
                artifact.read_manifest(),
                classes=target.metainfo["classes"],
                images=images,
                model_hash=runner.message_hub.get_info(LABELS_KEY),
            )
        except ValueError as error:
            problems = [str(error)]
        if problems:
            raise ValueError(
                "The run was interrupted inside a round whose pseudo labels are damaged: "
                f"{'; '.join(problems[:5])}{' ...' if len(problems) > 5 else ''}. Restore the folder, or resume from "
                "a checkpoint at or before the beginning of the round."
            )

    def _label(self, runner: Runner, phase: Phase, artifact: PseudoLabelArtifact) -> RoundManifest:
        """Label all target images, or keep a complete artifact of the same model and settings."""
        model = unwrapped(runner)
        manifest = _manifest_or_none(artifact)
        target, images = self._target(runner)
        networks = model.networks(of_teacher=self.label_with == "teacher")
        labeler = self._labeler(phase)
        fits = (
            manifest is not None
            and manifest.policy == labeler.settings(networks)
            and not artifact.check(
                manifest,
                classes=target.metainfo["classes"],
                images=images,
                model_hash=model_hash(labeler.predictor(networks)),
            )
        )
        # Every rank has looked before one of them clears the folder, and all do what the first one found.
        decision = [fits]
        barrier()
        broadcast_object_list(decision)
        if manifest is not None and decision[0]:
            action = "kept the"
            if is_main_process():
                artifact.clear_leftovers()
        else:
            action = "made"
            before = self._artifact(runner, phase.number - 1)
            before_manifest = _manifest_or_none(before)
            comparable = before_manifest is not None and not before.problems(before_manifest)
            manifest = labeler.label(
                model=model,
                networks=networks,
                dataset=target,
                artifact=artifact,
                round_number=phase.number,
                num_workers=self.num_workers,
                previous=before if comparable else None,
            )
        scores = ", ".join(f"{name} {value:.3f}" for name, value in manifest.scores.items())
        runner.logger.info(
            f"Round {phase.number}: {action} pseudo labels in {artifact.root}; "
            f"{100 * manifest.coverage:.1f} % of pixels labeled; {scores}."
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
        if self._labeled is not None and is_main_process():
            quality = artifact_quality(artifact, self._labeled, manifest.classes)
            self._record(runner, phase.number, analysis=quality)
        self._watch_labels(runner, phase, manifest)
        return manifest

    def _watch_labels(self, runner: Runner, phase: Phase, manifest: RoundManifest) -> None:
        """Say where the labels are not what the round needs, and stop where that is wanted.

        Raises:
            ValueError: They are not, and ``collapsed_labels="stop"``.
        """
        found: list[list[str]] = [[]]
        if is_main_process():
            if self._source_classes is None:
                source = runner.train_dataloader.dataset.domains["source"]
                self._source_classes = shown_classes(source)
            found[0] = collapse_problems(
                manifest, portion=phase.portion, source_classes=self._source_classes
            )
        broadcast_object_list(found)
        if not found[0]:
            return
        message = f"Round {phase.number} lacks labels: {'; '.join(found[0])}."
        if self.collapsed_labels == "stop":
            raise ValueError(
                f"{message} Train a longer warm-up, lower labeler.policy.lowest_threshold or raise the portion; "
                "default_hooks.self_training.collapsed_labels='warn' trains with them."
            )
        runner.logger.warning(message)

    @staticmethod
    def _record(runner: Runner, number: int, **values: Any) -> None:
        """Merge values into this round's entry of rounds.json."""
        if not is_main_process():
            return
        path = Path(runner.work_dir) / RECORD
        rounds = read_rounds(runner.work_dir)
        rounds.setdefault(str(number), {}).update(values)
        write_atomically(path, json.dumps(rounds, indent=1))
