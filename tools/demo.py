"""Compare source-only training, self-training and DRSL on the procedural scenes, and write a report.

python tools/demo.py [--seed 0] [--data DIR] [--work-dir DIR] [--cfg-options KEY=VALUE ...]

The trainings are a benchmark of one seed (tools/run_benchmark.py --pair scenes2scenes --tricks mean_teacher).
Source-only training is evaluated twice, the second time under the target's statistics of batch normalization: what
needs no round. What was interrupted continues with the same command, what is finished is kept. Results are summary.json
and report.html in the work folder; the page is there from the start and is renewed as trainings go on.
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mmdrsl.atomic_files import write_atomically
from mmdrsl.benchmark.evaluation_set import (
    EvaluationSet,
    configured_evaluation_set,
    use_target_statistics,
)
from mmdrsl.benchmark.execution import Execution, check_folders
from mmdrsl.benchmark.jobs import Job, run_jobs
from mmdrsl.benchmark.methods import LOWER_BOUND, UPPER_BOUND, choose_methods
from mmdrsl.benchmark.pairs import read_pair
from mmdrsl.benchmark.plan import CONFIGS, BenchmarkRun, Settings, plan_runs
from mmdrsl.benchmark.processes import Processes, StoppedError
from mmdrsl.benchmark.protocol import EQUAL
from mmdrsl.benchmark.training_run import ROOT, TrainingError
from mmdrsl.engine.config_options import add_config_options
from mmdrsl.engine.launch import read_config
from mmdrsl.scenes.render import render_scene
from mmdrsl.scenes.writer import RECORD_NAME, scene_paths, write_scenes
from mmdrsl.versions import environment
from mmdrsl.visualization import (
    FinishedRun,
    collect_report,
    format_table,
    order_sentence,
    render_report,
    table_rows,
)
from mmdrsl.visualization.progress_page import render_progress

PAIR = "scenes2scenes"
# In the order in which they begin after the warm-up: the longest first, so that two cores end together.
METHODS = ("drsl", "source_only", "self_training")
# An averaged network labels and predicts, for all three alike.
TRICKS = ("mean_teacher",)
WORLD_SEED = 0
# The evaluation of source-only training under statistics of the target alone.
STATISTICS = "target_statistics"
STATISTICS_TITLE = "Source only, target's statistics"
# A run of the oracle with what the demo gives every method; it takes as long as each of the three.
STORED_ORACLE = ROOT / "docs/results/scenes_oracle_seed_0.json"
STORED_TITLE = "Oracle (stored)"
LINE_INTERVAL_SECONDS = 30.0
HEADING = "From game scenes to camera scenes, without a target label"
SCENES = Path("data/scenes")


def parse_args(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Compare three trainings on the street scenes")
    parser.add_argument(
        "--seed", type=int, default=0, help="training seed; the scenes stay the same"
    )
    parser.add_argument("--data", type=Path, default=SCENES, help="the scenes")
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/demo"), help="results")
    add_config_options(parser, "config entries to override in every training that has them")
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


def with_target_statistics(
    settings: Settings, runs: Sequence[BenchmarkRun]
) -> tuple[EvaluationSet, BenchmarkRun]:
    """The second evaluation of source-only training, under the target's statistics.

    Args:
        settings: Settings of the benchmark.
        runs: Its runs.

    Returns:
        The evaluation, and the run with it.
    """
    template = read_config(settings.methods[LOWER_BOUND])
    run = next(run for run in runs if run.method == LOWER_BOUND)
    evaluation = copy.deepcopy(run.evaluation)
    use_target_statistics(evaluation, template, 1.0)
    chosen = configured_evaluation_set(template, target_weight=1.0)
    return chosen, replace(run, evaluation=evaluation)


def train(
    settings: Settings, runs: Sequence[BenchmarkRun], show: Callable[[str], None]
) -> tuple[Execution, Path]:
    """Train and evaluate what is not finished, two at a time where there are two cores.

    Args:
        settings: Settings of the benchmark.
        runs: Its runs.
        show: Renews the page, given how far everything is.

    Returns:
        The execution, which knows where the results are, and the result under the target's statistics.

    Raises:
        TrainingError: A process failed.
        StoppedError: The demo was stopped.
    """
    workers = 2 if len(os.sched_getaffinity(0)) >= 2 else 1
    # All trainings wait for the warm-up, so it has the cores of both.
    whole, single = (
        Processes(environment={**os.environ, "OMP_NUM_THREADS": str(threads)}, folder=Path.cwd())
        for threads in (workers, 1)
    )

    def stop(*_: Any) -> None:
        for processes in (whole, single):
            processes.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    statistics, statistics_run = with_target_statistics(settings, runs)
    first, execution, second = (
        Execution(
            processes=processes,
            evaluation=each,
            threads=threads,
            say=lambda line: print(line, flush=True),
        )
        for processes, each, threads in (
            (whole, settings.evaluation, workers),
            (single, settings.evaluation, 1),
            (single, statistics, 1),
        )
    )
    ordered = sorted(runs, key=lambda run: METHODS.index(run.method))
    jobs = execution.jobs(ordered)
    warmups = {job.after for job in jobs}
    jobs = [
        shared if job.name in warmups else job
        for shared, job in zip(first.jobs(ordered), jobs, strict=True)
    ]
    if not second.result_file(statistics_run).is_file():
        source_only = str(statistics_run.training.folder)
        jobs.append(
            Job(
                name=STATISTICS,
                action=partial(second.train_and_evaluate, statistics_run),
                after=source_only if any(job.name == source_only for job in jobs) else None,
            )
        )
    said = time.monotonic()

    def tick() -> None:
        nonlocal said
        if time.monotonic() - said >= LINE_INTERVAL_SECONDS:
            said = time.monotonic()
            line = execution.progress(runs)
            print(line, flush=True)
            show(line)

    failures = run_jobs(jobs, workers=workers, tick=tick)
    if single.stopped:
        raise StoppedError
    for error in failures.values():
        raise error
    return execution, second.result_file(statistics_run)


def example_images(scenes: Path) -> list[tuple[str, np.ndarray]]:
    """The first training scene of each look; rendered here where the set is not finished.

    Args:
        scenes: Folder of the set.

    Returns:
        Titles and images, RGB of shape (H, W, 3), uint8.
    """
    finished = (scenes / RECORD_NAME).is_file()
    first = scene_paths(seed=WORLD_SEED, num_game=1, num_camera_train=1, num_camera_val=1)[:2]
    images = []
    for title, scene in zip(("Game look, labeled", "Camera look, not labeled"), first, strict=True):
        if finished:
            image = np.asarray(Image.open(scenes / scene.image).convert("RGB"))
        else:
            image = render_scene(scene.seed, scene.look).image
        images.append((title, image))
    return images


def show_progress(
    out: Path,
    images: Sequence[tuple[str, np.ndarray]],
    runs: Sequence[BenchmarkRun],
    state: str,
) -> None:
    """Write the page of a comparison that is not finished.

    Args:
        out: Work folder of the demo.
        images: Titles and images of the data.
        runs: Runs of the benchmark.
        state: How far everything is.
    """
    trainings = {run.training.title: run.training.folder for run in runs}
    for run in runs:
        if run.warmup is not None:
            trainings[run.warmup.training.title] = run.warmup.training.folder
    text = render_progress(heading=HEADING, state=state, images=images, runs=trainings)
    write_atomically(out / "report.html", text)


def stored_oracle(
    run: BenchmarkRun, scenes: Path, options: Mapping[str, Any]
) -> dict[str, Any] | None:
    """The stored run of the oracle, where a comparison has its scenes and its recipe.

    Args:
        run: A run of the comparison.
        scenes: Folder of its scenes.
        options: Config entries that the comparison overrides.

    Returns:
        ``oracle`` (its scores in percent), ``seed``, ``command``, ``environment`` and what it was compared by; None
        where it is of other scenes or of another recipe.
    """
    if options or not STORED_ORACLE.is_file():
        return None
    stored = json.loads(STORED_ORACLE.read_text(encoding="utf-8"))
    alike = (
        stored["scenes"] == json.loads((scenes / RECORD_NAME).read_text(encoding="utf-8"))
        and stored["tricks"] == list(run.tricks)
        and all(
            stored["protocol"][name] == run.protocol[name]
            for name in (*EQUAL, "optimizer", "network")
        )
    )
    return stored if alike else None


def write_results(
    settings: Settings,
    runs: Sequence[BenchmarkRun],
    execution: Execution,
    statistics: Path,
    *,
    minutes: float,
    oracle: Mapping[str, Any] | None,
) -> None:
    """Print the table and write summary.json and report.html.

    Args:
        settings: Settings of the benchmark.
        runs: Its finished runs.
        execution: Knows their results.
        statistics: Result of source-only training under the target's statistics.
        minutes: What this call took so far.
        oracle: What `stored_oracle` says.
    """
    files = {run.method: execution.result_file(run) for run in runs}
    titles = {run.method: run.title for run in runs}
    titles = {LOWER_BOUND: titles.pop(LOWER_BOUND), STATISTICS: STATISTICS_TITLE, **titles}
    scores = {}
    for method, file in {**files, STATISTICS: statistics}.items():
        row = json.loads(file.read_text(encoding="utf-8"))
        scores[method] = {name: row[name] for name in ("mIoU", "aAcc", "IoU")}
    facts = [("command", shlex.join(["python", *sys.argv])), ("versions", environment())]
    if oracle is not None:
        titles[UPPER_BOUND] = STORED_TITLE
        scores[UPPER_BOUND] = oracle["oracle"]
        facts.append(
            (
                "oracle",
                f"not trained here: a stored run of seed {oracle['seed']} with the same steps, optimizer and averaged "
                f"teacher, on labels of the target. Command: {oracle['command']}. Versions: {oracle['environment']}",
            )
        )
    ranked = {method: title for method, title in titles.items() if method != UPPER_BOUND}
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
        facts=facts,
    )
    report = replace(report, result_text=gains_text(summary, titles, report.miou))
    write_atomically(settings.out / "report.html", render_report(report))
    write_atomically(settings.out / "summary.json", json.dumps(summary, indent=2) + "\n")
    print(format_table(table_rows(summary, report.classes, titles)))
    print(order_sentence(summary, ranked))
    print(report.result_text)


def gains_text(
    summary: Mapping[str, Any], titles: Mapping[str, str], miou: Mapping[str, Mapping[int, float]]
) -> str:
    """Say where the gains come from: what is there before any round.

    Args:
        summary: By method: ``mIoU`` in percent.
        titles: Title by method.
        miou: By method: mIoU in percent by round, 0 for the end of the warm-up.

    Returns:
        Some sentences.
    """
    text = (
        f"Source-only training has {summary[LOWER_BOUND]['mIoU']:.1f}, and {summary[STATISTICS]['mIoU']:.1f} where "
        "only its statistics of batch normalization are taken anew from unlabeled target images: no round, no pseudo "
        "label, no trained weight."
    )
    for method, curve in miou.items():
        if 0 in curve:
            text += (
                f" Of {titles[method]}'s {summary[method]['mIoU']:.1f}, {curve[0]:.1f} are there at the end of the "
                "warm-up, before any round, under such statistics."
            )
    return text + (
        " The mean is over the classes that the validation images have or a network predicts. SYNTHIA's mIoU16 is "
        "another mean, also of sixteen classes: it leaves terrain out and has motorcycle."
    )


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
    scenes, out = args.data.resolve(), args.work_dir.resolve()
    if (scenes / RECORD_NAME).is_file():
        # Options that do not fit are said before anything is written.
        plan(args)
    images = example_images(scenes)
    out.mkdir(parents=True, exist_ok=True)
    show_progress(out, images, [], "rendering the scenes")
    print(f"A first page, renewed every half minute: {out / 'report.html'}", flush=True)
    # A finished set is used as it is, so that --data may name one of another size.
    if not (scenes / RECORD_NAME).is_file() or args.data == SCENES:
        write_scenes(out_dir=scenes, seed=WORLD_SEED, progress=True)
    settings, runs = plan(args)
    check_folders(runs)
    show = partial(show_progress, out, images, runs)
    show("the trainings begin")
    execution, statistics = train(settings, runs, show)
    print("Training done, writing the report", flush=True)
    write_results(
        settings,
        runs,
        execution,
        statistics,
        minutes=(time.monotonic() - started) / 60,
        oracle=stored_oracle(runs[0], scenes, args.cfg_options),
    )
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
