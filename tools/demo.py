"""Compare source-only training, self-training and DRSL on the street scenes, and write a report.

python tools/demo.py [--seed 0] [--data DIR] [--work-dir DIR] [--cfg-options KEY=VALUE ...]

Interrupted runs continue where they stopped, finished ones are kept. Results are summary.json and
report.html in the work folder.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config, DictAction

import mmdrsl
from mmdrsl.benchmark.config_options import merge_options
from mmdrsl.benchmark.processes import Processes
from mmdrsl.benchmark.training_run import (
    ROOT,
    TrainingError,
    TrainingRun,
    fingerprint,
    format_duration,
)
from mmdrsl.engine.launch import resolve_mmseg_bases
from mmdrsl.scenes.writer import write_scenes
from mmdrsl.visualization.gallery import FinishedRun, collect_report
from mmdrsl.visualization.report import render_report
from mmdrsl.visualization.run_records import evaluations, latest_step, summarize_metrics
from mmdrsl.visualization.summary import METHOD_TITLES, format_table, order_sentence, table_rows

CONFIG_NAME = "deeplabv3plus_scenes2scenes.py"
WORLD_SEED = 0
LINE_INTERVAL_SECONDS = 30.0
BAR_INTERVAL_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Run(TrainingRun):
    """One training of the comparison.

    Attributes:
        method: Name of the method, a key of `METHOD_TITLES`.
    """

    method: str

    def is_finished(self) -> bool:
        """Whether the final weights exist and were evaluated."""
        return self.checkpoint.is_file() and self.max_steps in evaluations(self.folder)


def parse_args(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Compare three trainings on the street scenes")
    parser.add_argument(
        "--seed", type=int, default=0, help="training seed; the scenes stay the same"
    )
    parser.add_argument("--data", type=Path, default=ROOT / "data/scenes", help="the scenes")
    parser.add_argument("--work-dir", type=Path, default=ROOT / "work_dirs/demo", help="results")
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=DictAction,
        default={},
        help="config entries to override in every training that has them, key=value",
    )
    return parser.parse_args(arguments)


def load_configs(seed: int, options: Mapping[str, Any]) -> dict[str, Config]:
    """Load the config of every method.

    Args:
        seed: Training seed.
        options: Entries to override; an entry goes to every config that has its parent.

    Returns:
        Config by method.

    Raises:
        ValueError: No config has the parent of an option, or one names a seed.
    """
    if "randomness.seed" in options:
        raise ValueError("--cfg-options names randomness.seed; the training seed is --seed.")
    configs = {
        method: Config.fromfile(ROOT / "configs" / method / CONFIG_NAME) for method in METHOD_TITLES
    }
    merge_options(
        configs, {"default_hooks.logger.interval": 10, **options, "randomness.seed": seed}
    )
    return configs


def plan_runs(configs: Mapping[str, Config], folder: Path) -> dict[str, Run]:
    """Lay out the three trainings; self-training continues the warm-up of source-only training.

    Their warm-ups are the same computation: the randomness of a step depends on seed and iteration
    only. DRSL has a warm-up of its own, since mode learning takes part in it.

    Args:
        configs: Config by method; the one of source-only training is changed in place.
        folder: Work folder of this seed.

    Returns:
        Run by method.

    Raises:
        ValueError: Self-training has no warm-up, or nothing after it.
    """
    warmup = int(configs["self_training"].default_hooks.self_training.warmup_iterations)
    source = configs["source_only"]
    if not 0 < warmup < source.train_cfg.max_iters:
        raise ValueError(
            f"warmup_iterations is {warmup}, expected 1..{source.train_cfg.max_iters - 1}, inside "
            "train_cfg.max_iters: change default_hooks.self_training.warmup_iterations."
        )
    source.merge_from_dict(
        {
            "default_hooks.checkpoint.interval": warmup if warmup % 3 else warmup // 3,
            "default_hooks.checkpoint.max_keep_ckpts": -1,
            "train_cfg.val_interval": warmup,
        }
    )
    shared = folder / "source_only" / f"iter_{warmup}.pth"
    return {
        method: Run(
            method=method,
            title=METHOD_TITLES[method],
            cfg=cfg,
            config_file=folder / f"{method}.py",
            folder=folder / method,
            first_step=warmup if method == "self_training" else 0,
            warmup_checkpoint=shared if method == "self_training" else None,
        )
        for method, cfg in configs.items()
    }


def prepare_run(run: Run, scenes: Path) -> None:
    """Write a run's config, and clear its folder where another config, set or version made it.

    Args:
        run: The run.
        scenes: Folder of the scenes.
    """
    run.config_file.parent.mkdir(parents=True, exist_ok=True)
    run.cfg.dump(run.config_file)
    parts = [
        mmdrsl.__version__,
        run.config_file.read_text(encoding="utf-8"),
        (scenes / "scenes.json").read_text(encoding="utf-8"),
    ]
    code = fingerprint(parts)
    record = run.folder / "fingerprint.txt"
    known = record.is_file() and record.read_text(encoding="utf-8") == code
    # Weights without an evaluation come from a kill between the two; training would not evaluate.
    unevaluated = run.checkpoint.is_file() and not run.is_finished()
    if run.folder.exists() and (not known or unevaluated):
        shutil.rmtree(run.folder)
    run.folder.mkdir(parents=True, exist_ok=True)
    record.write_text(code, encoding="utf-8")


def train_chain(chain: Sequence[Run], processes: Processes) -> None:
    """Train runs one after another, leaving out finished ones.

    Args:
        chain: The runs.
        processes: Starts their processes.

    Raises:
        TrainingError: A process failed; the message has the end of its log.
    """
    for run in chain:
        if run.is_finished():
            continue
        status = processes.run(run.command(), log=run.log)
        if status is None:
            return
        if status != 0 or not run.is_finished():
            raise TrainingError(run.failure_message(status))


class Progress:
    """Shows how far the trainings are and how long they will take.

    Args:
        chains: Runs that follow one another, chain by chain.
    """

    def __init__(self, *, chains: Sequence[Sequence[Run]]) -> None:
        self.chains = chains
        self.started = time.monotonic()
        self.at_start = [self._done(chain) for chain in chains]
        self.is_terminal = sys.stdout.isatty()

    @staticmethod
    def _done(chain: Sequence[Run]) -> int:
        return sum(max(latest_step(run.folder) - run.first_step, 0) for run in chain)

    def line(self, seconds: float) -> str:
        """Describe the state.

        Args:
            seconds: Time since the trainings started.

        Returns:
            One line: share done, step of each run, and the time left of the slowest chain.
        """
        done = [self._done(chain) for chain in self.chains]
        totals = [sum(run.max_steps - run.first_step for run in chain) for chain in self.chains]
        left = [
            seconds * (total - now) / (now - before) if now > before else None
            for total, now, before in zip(totals, done, self.at_start, strict=True)
            if total > now
        ]
        known = [value for value in left if value is not None]
        if not left:
            time_left = "finishing"
        elif len(known) < len(left):
            time_left = "time left not known yet"
        else:
            time_left = f"{format_duration(max(known))} left"
        steps = ", ".join(
            f"{run.title} {max(latest_step(run.folder), run.first_step)}/{run.max_steps}"
            for chain in self.chains
            for run in chain
        )
        return f"Training {100 * sum(done) // max(sum(totals), 1)} %: {steps}; {time_left}"

    def follow(self, futures: Sequence[Future]) -> None:
        """Show the state until all chains have ended or one has failed.

        Args:
            futures: The running chains.
        """
        interval = BAR_INTERVAL_SECONDS if self.is_terminal else LINE_INTERVAL_SECONDS
        pending = set(futures)
        while pending and not any(future.done() and future.exception() for future in futures):
            text = self.line(time.monotonic() - self.started)
            if self.is_terminal:
                print(f"\r\033[K{text}", end="", flush=True)
            else:
                print(text, flush=True)
            pending = wait(pending, timeout=interval, return_when="FIRST_COMPLETED").not_done
        if self.is_terminal:
            print("\r\033[K", end="", flush=True)


def train(runs: Mapping[str, Run]) -> None:
    """Train what is not finished: DRSL beside the other two where there are two cores.

    Args:
        runs: Run by method.

    Raises:
        TrainingError: A training failed.
    """
    chains = [[runs["source_only"], runs["self_training"]], [runs["drsl"]]]
    processes = Processes(environment={**os.environ, "OMP_NUM_THREADS": "1"}, folder=ROOT)
    with ThreadPoolExecutor(max_workers=2 if (os.cpu_count() or 1) >= 2 else 1) as pool:
        try:
            progress = Progress(chains=chains)
            futures = [pool.submit(train_chain, chain, processes) for chain in chains]
            progress.follow(futures)
            for future in futures:
                if future.done():
                    future.result()
        finally:
            processes.stop()


def write_results(
    runs: Mapping[str, Run],
    *,
    seed: int,
    reused: Sequence[str],
    started: float,
    folders: Sequence[Path],
) -> None:
    """Print the table and write summary.json and report.html.

    Args:
        runs: Finished run by method.
        seed: Training seed.
        reused: Methods whose training an earlier call had finished.
        started: Monotonic time in seconds at which the demo began.
        folders: Where the two files go.
    """
    results = {method: evaluations(run.folder) for method, run in runs.items()}
    summary: dict[str, Any] = {
        "seed": seed,
        "minutes": 0.0,
        **{
            method: summarize_metrics(results[method][run.max_steps])
            for method, run in runs.items()
        },
    }
    warmup = results["source_only"].get(runs["self_training"].first_step, {})
    summary["minutes"] = round((time.monotonic() - started) / 60, 1)
    report = collect_report(
        {
            method: FinishedRun(cfg=run.cfg, folder=run.folder, checkpoint=run.checkpoint)
            for method, run in runs.items()
        },
        summary,
        setting=describe_setting(runs, reused),
        warmup_miou=warmup.get("mIoU"),
    )
    page = render_report(report)
    for folder in folders:
        text = json.dumps(summary, indent=2) + "\n"
        (folder / "summary.json").write_text(text, encoding="utf-8")
        (folder / "report.html").write_text(page, encoding="utf-8")
    print(format_table(table_rows(summary, report.classes)))
    print(order_sentence(summary))


def describe_setting(runs: Mapping[str, Run], reused: Sequence[str]) -> str:
    """Say what was trained, in the words of the report.

    Args:
        runs: Run by method.
        reused: Methods whose training an earlier call had finished.

    Returns:
        Some sentences.
    """
    rounds = runs["drsl"].cfg.default_hooks.self_training.rounds
    steps, warmup = runs["drsl"].max_steps, runs["self_training"].first_step
    text = (
        "Three trainings of the same small network from scratch: on labeled game-look scenes "
        "only, with class-balanced self-training on unlabeled camera-look scenes, and with DRSL "
        "on top. "
        f"Each runs {steps} steps, {warmup} of them warm-up, the adapting ones with {len(rounds)} "
        "rounds of pseudo labels. Labels of camera training scenes are never read."
    )
    if reused:
        names = ", ".join(METHOD_TITLES[method] for method in reused)
        text += f" Kept from an earlier call, outside the minutes: {names}."
    return text


def run_demo(args: argparse.Namespace) -> None:
    """Render, train, compare.

    Args:
        args: Parsed command line.

    Raises:
        ValueError: The seed, an option or the set of scenes does not fit.
        FileExistsError: The data folder holds something else than scenes.
        TrainingError: A training failed.
    """
    started = time.monotonic()
    if args.seed < 0:
        raise ValueError(f"--seed is {args.seed}, expected zero or more.")
    scenes, work_dir = args.data.resolve(), args.work_dir.resolve()
    # A finished set is used as it is, so that --data may name one of another size.
    if not (scenes / "scenes.json").is_file() or scenes == ROOT / "data/scenes":
        write_scenes(out_dir=scenes, seed=WORLD_SEED, progress=True)
    os.environ["MMDRSL_SCENES"] = str(scenes)
    resolve_mmseg_bases()
    folder = work_dir / f"seed_{args.seed}"
    runs = plan_runs(load_configs(args.seed, args.cfg_options), folder)
    for run in runs.values():
        prepare_run(run, scenes)
    reused = [method for method, run in runs.items() if run.is_finished()]
    train(runs)
    print("Training done, writing the report", flush=True)
    write_results(runs, seed=args.seed, reused=reused, started=started, folders=[folder, work_dir])
    print(f"Report: {work_dir / 'report.html'}")


def main() -> int:
    """Run the demo; return the exit status."""
    # Python ends on SIGTERM without clean-up, which would leave the trainings running.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        run_demo(parse_args())
    except (ValueError, FileNotFoundError, FileExistsError, TrainingError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ndemo: stopped; the same command continues from the last checkpoints")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
