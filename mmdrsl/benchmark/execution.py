"""Does the runs of a benchmark: trains what is not trained, evaluates what is not evaluated."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmdrsl.atomic_files import read_json, write_atomically
from mmdrsl.benchmark.evaluation_set import EvaluationSet
from mmdrsl.benchmark.jobs import Job
from mmdrsl.benchmark.plan import BenchmarkRun, PlannedRun
from mmdrsl.benchmark.processes import Processes, StoppedError, locked
from mmdrsl.benchmark.results import FORMAT, scores_of
from mmdrsl.benchmark.training_run import ROOT, TrainingError, failure_message
from mmdrsl.benchmark.warmup_checkpoint import write_part
from mmdrsl.engine.hooks.run_cost_hook import COST_FILE
from mmdrsl.versions import environment
from mmdrsl.visualization.run_records import latest_step

HASH_FILE = "hash.txt"
# Hash of the warm-up from which a training began, or "own".
WARMUP_FILE = "warmup.txt"
# Threads and versions with which it began.
MACHINE_FILE = "machine.json"


class Execution:
    """Trains and evaluates runs in processes of their own.

    Everything that decides what is left to do is a file: a final checkpoint, a result. So a benchmark that was killed
    at any time continues when it is started again, and two may share a folder.

    Args:
        processes: Starts the processes.
        evaluation: What the runs are evaluated on.
        threads: Threads of each process, for the record.
        say: Prints a line.
    """

    def __init__(
        self,
        *,
        processes: Processes,
        evaluation: EvaluationSet,
        threads: int,
        say: Callable[[str], None],
    ) -> None:
        self.processes = processes
        self.evaluation = evaluation
        self.threads = threads
        self.say = say

    def jobs(self, runs: Sequence[BenchmarkRun]) -> list[Job]:
        """Jobs of all runs, each after its warm-up.

        Args:
            runs: The runs.

        Returns:
            The jobs; a warm-up whose runs are all trained is left out.
        """
        jobs: dict[str, Job] = {}
        for run in runs:
            if self.result_file(run).is_file():
                continue
            # What has begun never reads its warm-up again.
            warmup = None if run.training.has_begun else run.warmup
            if warmup is not None:
                name = self._name(warmup)
                jobs[name] = Job(name=name, action=partial(self.train, warmup))
            name = self._name(run)
            jobs[name] = Job(
                name=name,
                action=partial(self.train_and_evaluate, run),
                after=None if warmup is None else self._name(warmup),
            )
        return list(jobs.values())

    @staticmethod
    def _name(run: PlannedRun) -> str:
        return str(run.training.folder)

    def result_file(self, run: BenchmarkRun) -> Path:
        """Where the result of a run on the evaluation set is."""
        return run.training.folder / _result_name(self.evaluation.identity)

    def train(self, run: PlannedRun) -> None:
        """Train a run, or what is left of it.

        Args:
            run: The run.

        Raises:
            TrainingError: The process failed.
            StoppedError: The benchmark was stopped.
        """
        with self._lock(run) as lock:
            self._train(run, lock)

    def train_and_evaluate(self, run: BenchmarkRun) -> None:
        """Train a run, evaluate its last iterate and write its result, as far as that is not done.

        Args:
            run: The run.

        Raises:
            TrainingError: A process failed.
            StoppedError: The benchmark was stopped.
        """
        with self._lock(run) as lock:
            self._train(run, lock)
            if not self.result_file(run).is_file():
                row = self._row(run, self._evaluate(run, lock))
                write_atomically(self.result_file(run), json.dumps(row, indent=1) + "\n")
                self.say(f"{run.training.title}: {row['mean_of_sequences']:.1f}")

    def _lock(self, run: PlannedRun) -> Any:
        folder = run.training.folder
        return locked(
            folder.with_name(f".{folder.name}.lock"),
            waiting=lambda: self.say(f"{run.training.title}: another process works on it, waiting"),
            is_stopped=lambda: self.processes.stopped,
        )

    def _train(self, run: PlannedRun, lock: int) -> None:
        training = run.training
        if self.processes.stopped:
            raise StoppedError(f"{training.title} was not begun.")
        if _recorded_hash(run) is None:
            # Never begun, or killed while beginning.
            shutil.rmtree(training.folder, ignore_errors=True)
            training.folder.mkdir(parents=True)
            # Another call may read it at any time.
            write_atomically(training.config_file, training.cfg.pretty_text)
            write_atomically(training.folder / WARMUP_FILE, "own")
            write_atomically(training.folder / MACHINE_FILE, json.dumps(self._machine()))
            write_atomically(training.folder / HASH_FILE, run.hash)
        if not training.checkpoint.is_file():
            self._train_on(run, lock)
        if training.warmup_checkpoint is not None:
            training.warmup_checkpoint.unlink(missing_ok=True)

    def _train_on(self, run: PlannedRun, lock: int) -> None:
        """Train from the warm-up, or from the run's last checkpoint."""
        training = run.training
        self.say(f"{training.title}: training")
        self._take_from_warmup(run)
        self._process(training.command(), training.title, training.log, lock)
        if not training.checkpoint.is_file():
            raise TrainingError(training.failure_message(0))

    @staticmethod
    def _take_from_warmup(run: PlannedRun) -> None:
        """Make the checkpoint from which a run begins that has not trained yet."""
        part = run.training.warmup_checkpoint
        if run.warmup is None or part is None or run.training.has_begun:
            return
        warmup = run.warmup.training
        # As the processes read them: a written config has its entries, and so the parameters, in another order.
        whole_cfg, cfg = (Config.fromfile(each.config_file) for each in (warmup, run.training))
        write_part(warmup.checkpoint, whole_cfg, part, cfg)
        write_atomically(run.training.folder / WARMUP_FILE, run.warmup.hash)

    def _evaluate(self, run: BenchmarkRun, lock: int) -> dict[str, float]:
        """Metrics of the last iterate."""
        training = run.training
        folder = training.folder / f"evaluation_{self.evaluation.identity}"
        # What an evaluation that was killed left is of no use.
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        config_file = folder / "config.py"
        run.evaluation.dump(config_file)
        command = [sys.executable, str(ROOT / "tools/test.py"), str(config_file)]
        command += [str(training.checkpoint), "--work-dir", str(folder)]
        log = folder / "test.log"
        self._process(command, f"{training.title}: the evaluation", log, lock)
        records = list(folder.glob("*/*.json"))
        if len(records) != 1:
            raise TrainingError(failure_message(f"{training.title}: the evaluation", log, 0))
        return json.loads(records[0].read_text(encoding="utf-8"))

    def _process(self, command: Sequence[str], title: str, log: Path, lock: int) -> None:
        status = self.processes.run(command, log=log, lock=lock)
        if status is None:
            raise StoppedError(f"{title} was stopped.")
        if status != 0:
            raise TrainingError(failure_message(title, log, status))

    def _row(self, run: BenchmarkRun, metrics: dict[str, float]) -> dict[str, Any]:
        """Everything that is known of a finished run, but what other runs say about it."""
        cost = read_json(
            run.training.folder / COST_FILE,
            kind="record of a run's cost",
            remedy=f"Remove {run.training.folder} to train again",
        )
        machine = run.training.folder / MACHINE_FILE
        made_by = json.loads(machine.read_text()) if machine.is_file() else self._machine()
        return {
            **row_of_plan(run, self.evaluation),
            **scores_of(metrics),
            "minutes": round((cost["seconds"] - cost["warmup_seconds"]) / 60, 2),
            "warmup_minutes": round(cost["warmup_seconds"] / 60, 2),
            "peak_memory_mb": round(cost["peak_memory_mb"]),
            "shared_warmup": (run.training.folder / WARMUP_FILE).read_text() != "own",
            **made_by,
            "config_hash": run.hash[:16],
        }

    def _machine(self) -> dict[str, Any]:
        return {"threads": self.threads, "environment": environment()}

    def progress(self, runs: Sequence[BenchmarkRun]) -> str:
        """Say how far everything is.

        Args:
            runs: The runs.

        Returns:
            One line.
        """
        left = [run for run in runs if not self.result_file(run).is_file()]
        warmups = {id(run.warmup): run.warmup.training for run in left if run.warmup is not None}
        begun = []
        for training in [
            *(warmup for warmup in warmups.values() if not warmup.checkpoint.is_file()),
            *(run.training for run in left),
        ]:
            step = latest_step(training.folder)
            if step > 0:
                begun.append(f"{training.title} {step}/{training.max_steps}")
        done = len(runs) - len(left)
        return f"{done} of {len(runs)} runs done; begun: {', '.join(begun) or 'none'}"


def _result_name(evaluation: str) -> str:
    """File of the row on an evaluation set, given by its identity.

    Rows of another format are not found, so that their runs are evaluated anew.
    """
    return f"result_{FORMAT}_{evaluation}.json"


def row_of_plan(run: BenchmarkRun, evaluation: EvaluationSet) -> dict[str, Any]:
    """What a row says before its run is trained.

    Args:
        run: The run.
        evaluation: What it is evaluated on.

    Returns:
        The beginning of the row.
    """
    statistics = (
        {} if evaluation.target_weight is None else {"target_weight": evaluation.target_weight}
    )
    return {
        "method": run.method,
        "title": run.title,
        "model": run.network,
        "seed": run.seed,
        "tricks": list(run.tricks),
        "translations": run.translations,
        "evaluation": {"set": evaluation.title, "hash": evaluation.identity, **statistics},
        "protocol": run.protocol,
        "recipe_hash": run.recipe[:16],
        "data_hash": run.data_hash[:16],
        "shared": run.shared,
    }


def check_folders(runs: Sequence[BenchmarkRun]) -> None:
    """Refuse to go on in folders that hold something else.

    Args:
        runs: The runs.

    Raises:
        ValueError: A folder holds a run with another config, other data, another version or other code.
    """
    for run in runs:
        recorded = _recorded_hash(run)
        if recorded is not None and recorded != run.hash:
            raise ValueError(
                f"{run.training.folder} was trained with another config, other data, another version or other code "
                "of a method of your own. Choose another --out, or delete the folder to train it anew."
            )


def _recorded_hash(run: PlannedRun) -> str | None:
    path = run.training.folder / HASH_FILE
    return path.read_text(encoding="utf-8") if path.is_file() else None


def finished_rows(out: Path) -> list[dict[str, Any]]:
    """Rows of all runs below a folder, on all sets on which they were evaluated.

    Args:
        out: Folder of a benchmark.

    Returns:
        Rows without gaps.
    """
    files = out.glob(f"*/*/seed_*/*/{_result_name('*')}")
    remedy = "Remove it, and the run is evaluated again"
    return [read_json(path, kind="result of a run", remedy=remedy) for path in sorted(files)]
