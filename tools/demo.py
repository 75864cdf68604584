"""Compare source-only training, self-training and DRSL on the procedural scenes, and write a report.

python tools/demo.py [--seed 0] [--data DIR] [--work-dir DIR] [--cfg-options KEY=VALUE ...]

The trainings are a benchmark of one seed (tools/run_benchmark.py --pair scenes2scenes --tricks mean_teacher). What was
interrupted continues with the same command, what is finished is kept. Results are summary.json and report.html in the
work folder.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import DictAction

from mmdrsl.atomic_files import write_atomically
from mmdrsl.benchmark.evaluation_set import configured_evaluation_set
from mmdrsl.benchmark.execution import Execution, check_folders
from mmdrsl.benchmark.jobs import run_jobs
from mmdrsl.benchmark.methods import choose_methods
from mmdrsl.benchmark.pairs import read_pair
from mmdrsl.benchmark.plan import CONFIGS, BenchmarkRun, Settings, plan_runs
from mmdrsl.benchmark.processes import Processes, StoppedError
from mmdrsl.benchmark.training_run import TrainingError
from mmdrsl.engine.launch import read_config
from mmdrsl.scenes.writer import write_scenes
from mmdrsl.visualization import (
    FinishedRun,
    collect_report,
    format_table,
    order_sentence,
    render_report,
    table_rows,
)

PAIR = "scenes2scenes"
METHODS = ("source_only", "self_training", "drsl")
# An averaged network labels and predicts, for all three alike.
TRICKS = ("mean_teacher",)
WORLD_SEED = 0
LINE_INTERVAL_SECONDS = 30.0
SCENES = Path("data/scenes")


def parse_args(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Compare three trainings on the street scenes")
    parser.add_argument(
        "--seed", type=int, default=0, help="training seed; the scenes stay the same"
    )
    parser.add_argument("--data", type=Path, default=SCENES, help="the scenes")
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/demo"), help="results")
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=DictAction,
        default={},
        help="config entries to override in every training that has them, key=value",
    )
    args = parser.parse_args(arguments)
    if args.seed < 0:
        parser.error(f"--seed is {args.seed}, expected zero or more")
    return args


def plan(args: argparse.Namespace) -> tuple[Settings, list[BenchmarkRun]]:
    """Lay out the three trainings.

    Args:
        args: Parsed command line.

    Returns:
        Settings and runs of the benchmark.

    Raises:
        ValueError: An option does not fit.
    """
    pair = read_pair(PAIR, CONFIGS)
    data = args.data.resolve()
    os.environ[pair.variable] = str(data)
    template = read_config(CONFIGS / "_base_/pairs" / f"{PAIR}.py")
    settings = Settings(
        data=data,
        out=args.work_dir.resolve(),
        methods=choose_methods(METHODS, CONFIGS, PAIR),
        networks=(pair.network,),
        seeds=(args.seed,),
        evaluation=configured_evaluation_set(template),
        tricks=TRICKS,
        options={"default_hooks.logger.interval": 10, **args.cfg_options},
        pair=pair,
        follow_rounds=True,
    )
    return settings, plan_runs(settings)


def train(settings: Settings, runs: Sequence[BenchmarkRun]) -> Execution:
    """Train and evaluate what is not finished, two at a time where there are two cores.

    Args:
        settings: Settings of the benchmark.
        runs: Its runs.

    Returns:
        The execution, which knows where the results are.

    Raises:
        TrainingError: A process failed.
        StoppedError: The demo was stopped.
    """
    processes = Processes(environment={**os.environ, "OMP_NUM_THREADS": "1"}, folder=Path.cwd())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: processes.stop())
    execution = Execution(
        processes=processes,
        evaluation=settings.evaluation,
        threads=1,
        say=lambda line: print(line, flush=True),
    )
    said = time.monotonic()

    def tick() -> None:
        nonlocal said
        if time.monotonic() - said >= LINE_INTERVAL_SECONDS:
            said = time.monotonic()
            print(execution.progress(runs), flush=True)

    workers = 2 if len(os.sched_getaffinity(0)) >= 2 else 1
    failures = run_jobs(execution.jobs(runs), workers=workers, tick=tick)
    if processes.stopped:
        raise StoppedError
    for error in failures.values():
        raise error
    return execution


def write_results(
    settings: Settings, runs: Sequence[BenchmarkRun], execution: Execution, *, minutes: float
) -> None:
    """Print the table and write summary.json and report.html.

    Args:
        settings: Settings of the benchmark.
        runs: Its finished runs.
        execution: Knows their results.
        minutes: What this call took so far.
    """
    rows = {
        run.method: json.loads(execution.result_file(run).read_text(encoding="utf-8"))
        for run in runs
    }
    titles = {run.method: run.title for run in runs}
    scores = {
        method: {name: row[name] for name in ("mIoU", "aAcc", "IoU")}
        for method, row in rows.items()
    }
    summary: dict[str, Any] = {"seed": settings.seeds[0], "minutes": round(minutes, 1), **scores}
    report = collect_report(
        {
            run.method: FinishedRun(
                cfg=run.training.cfg,
                folder=run.training.folder,
                checkpoint=run.training.checkpoint,
            )
            for run in runs
        },
        summary,
        titles=titles,
        setting=setting_text(runs),
    )
    write_atomically(settings.out / "report.html", render_report(report))
    write_atomically(settings.out / "summary.json", json.dumps(summary, indent=2) + "\n")
    print(format_table(table_rows(summary, report.classes, titles)))
    print(order_sentence(summary, titles))


def setting_text(runs: Sequence[BenchmarkRun]) -> str:
    """Say what was trained, in the words of the report.

    Args:
        runs: The runs.

    Returns:
        Some sentences.
    """
    adapted = next(run for run in runs if "self_training" in run.training.cfg.default_hooks)
    rounds = adapted.training.cfg.default_hooks.self_training.rounds
    return (
        "Three trainings of the same small network from scratch: on labeled game-look scenes only, with "
        "class-balanced self-training on unlabeled camera-look scenes, and with DRSL on top. "
        f"Each runs {adapted.protocol['steps']} steps. The first {adapted.protocol['warmup_steps']} are one warm-up on "
        f"the source for all; the adapting ones then have {len(rounds)} rounds of pseudo labels. An averaged teacher "
        "labels and predicts. No training reads labels of camera images; they are for the evaluation."
    )


def run_demo(args: argparse.Namespace) -> None:
    """Render, train, compare.

    Args:
        args: Parsed command line.

    Raises:
        ValueError: An option or the set of scenes does not fit.
        FileExistsError: The data folder holds something else than scenes.
        TrainingError: A training failed.
        StoppedError: The demo was stopped.
    """
    started = time.monotonic()
    scenes = args.data.resolve()
    # A finished set is used as it is, so that --data may name one of another size.
    if not (scenes / "scenes.json").is_file() or args.data == SCENES:
        write_scenes(out_dir=scenes, seed=WORLD_SEED, progress=True)
    settings, runs = plan(args)
    settings.out.mkdir(parents=True, exist_ok=True)
    check_folders(runs)
    execution = train(settings, runs)
    print("Training done, writing the report", flush=True)
    write_results(settings, runs, execution, minutes=(time.monotonic() - started) / 60)
    print(f"Report: {settings.out / 'report.html'}")


def main() -> int:
    """Run the demo; return the exit status."""
    args = parse_args()
    # MMEngine says at every config that it found the data.
    logging.disable(logging.INFO)
    try:
        run_demo(args)
    except (ValueError, OSError, TrainingError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except (StoppedError, KeyboardInterrupt):
        print("\ndemo: stopped; the same command continues from the last checkpoints")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
