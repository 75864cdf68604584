"""Compare methods over networks and seeds, on CARLA to CamVid, data laid out like it, or another pair of domains.

python tools/run_benchmark.py --data DIR --methods source_only oracle drsl --seeds 0 1 2 --out DIR [--models M ...]
    [--pair streets2cs|scenes2scenes|gta2cs] [--eval-data DIR --eval-split NAME] [--jobs N] [--tricks NAME ...]
    [--translations DIR|fourier|lab]
python tools/run_benchmark.py --data DIR --methods drsl mine=PATH/my_config.py --out DIR   # a method of your own
python tools/run_benchmark.py --merge FILE ... --out DIR          # put several results.json together
python tools/run_benchmark.py --report FILE ... [--page PAGE] [--figure SVG]   # their tables, printed or in a page

A benchmark that was interrupted, or killed, continues with the same command; what is done is kept. --out receives
results.json and results.md, after every run. Protocol: docs/protocol.md.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmdrsl.atomic_files import write_atomically
from mmdrsl.benchmark.evaluation_set import (
    EvaluationSet,
    configured_evaluation_set,
    read_evaluation_set,
)
from mmdrsl.benchmark.execution import Execution, check_folders, finished_rows, row_of_plan
from mmdrsl.benchmark.figure import control_scores, figure
from mmdrsl.benchmark.jobs import run_jobs
from mmdrsl.benchmark.methods import LOWER_BOUND, choose_methods, is_translated, read_methods
from mmdrsl.benchmark.networks import network_names
from mmdrsl.benchmark.pairs import DEFAULT_PAIR, Pair, check_data, pair_names, read_pair
from mmdrsl.benchmark.plan import CONFIGS, BenchmarkRun, Settings, plan_runs
from mmdrsl.benchmark.processes import Processes, StoppedError
from mmdrsl.benchmark.report import fill_page, report
from mmdrsl.benchmark.results import check_comparable, merge_rows, read_results, results_text
from mmdrsl.benchmark.training_run import ROOT, TrainingError
from mmdrsl.benchmark.tricks import TRICKS, check_tricks
from mmdrsl.engine.config_options import add_config_options
from mmdrsl.engine.launch import MISTAKES, describe, read_config

PROGRESS_SECONDS = 60.0
CHEAP_TRANSLATORS = ("fourier", "lab")
# Options of a call that trains nothing.
_OF_RESULTS = ("merge", "out", "report", "page", "figure", "control")


def parse_args(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data",
        type=Path,
        help="folder of the pair's data, by default carla/, camvid/ and weights/",
    )
    parser.add_argument(
        "--pair",
        choices=pair_names(CONFIGS),
        default=DEFAULT_PAIR,
        help="the domains; data as in its configs",
    )
    parser.add_argument(
        "--methods",
        nargs="+",
        metavar="METHOD",
        help="names of config folders, or NAME=PATH of a config of your own",
    )
    parser.add_argument(
        "--models",
        nargs="+",
        metavar="MODEL",
        help=f"{', '.join(network_names(CONFIGS))}; default: that of the pair's configs",
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="training seeds")
    parser.add_argument("--out", type=Path, help="folder of runs and results")
    parser.add_argument(
        "--eval-data",
        type=Path,
        help="labeled folder; default: DATA/camvid, or what the pair's configs validate on",
    )
    parser.add_argument("--eval-split", help="its list of images, without .txt, by default val")
    parser.add_argument(
        "--target-bn",
        type=float,
        metavar="WEIGHT",
        help="predict with this weight of the unlabeled target in the statistics of batch normalization",
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    parser.add_argument(
        "--threads", type=int, help="CPU threads of each; default: the cores shared out"
    )
    parser.add_argument("--tricks", nargs="+", metavar="TRICK", default=[], help=", ".join(TRICKS))
    parser.add_argument(
        "--translations", help="folder of the translated source, or fourier or lab to make one"
    )
    parser.add_argument(
        "--weights",
        nargs="+",
        metavar="MODEL=FILE",
        default=[],
        help="ImageNet weights of a model's backbone, or MODEL=scratch",
    )
    add_config_options(parser, "config entries to override in every run that has them")
    parser.add_argument("--merge", nargs="+", type=Path, metavar="FILE", help="results.json files")
    parser.add_argument("--report", nargs="+", type=Path, metavar="FILE", help="results.json files")
    parser.add_argument(
        "--page", nargs="+", type=Path, help="--report: pages whose marked places to fill"
    )
    parser.add_argument(
        "--figure", type=Path, metavar="SVG", help="--report: file for a drawing of the headline"
    )
    parser.add_argument(
        "--control", type=Path, metavar="FILE", help="--figure: results that hold the control's"
    )
    args = parser.parse_args(arguments)
    if args.merge is not None and args.out is None:
        parser.error("--merge needs --out")
    needed = ("data", "methods", "out")
    missing = [f"--{name}" for name in needed if getattr(args, name) is None]
    trains = args.merge is None and args.report is None
    if trains and missing:
        parser.error(f"missing {' '.join(missing)}")
    if args.jobs < 1 or (args.threads is not None and args.threads < 1) or min(args.seeds) < 0:
        parser.error("--jobs and --threads must be at least 1, --seeds at least 0")
    if args.merge is not None and args.report is not None:
        parser.error("--merge and --report exclude each other")
    if args.control is not None and args.figure is None:
        parser.error("--control needs --figure")
    if args.report is None and (args.page is not None or args.figure is not None):
        parser.error("--page and --figure need --report")
    if args.report is not None and args.out is not None:
        parser.error("--report prints, or fills a --page: leave --out out")
    unused = [name for name in vars(args) if name not in _OF_RESULTS]
    unused = [name for name in unused if getattr(args, name) != parser.get_default(name)]
    if not trains and unused:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in unused)
        parser.error(f"--merge and --report take all rows of their files: leave {names} out")
    return args


def read_pairs(pairs: Sequence[str]) -> dict[str, str]:
    """Split ``MODEL=FILE`` options.

    Args:
        pairs: The options.

    Returns:
        File by model.

    Raises:
        ValueError: One is no such pair, or a model has two files.
    """
    wrong = [pair for pair in pairs if "=" not in pair]
    if wrong:
        raise ValueError(f"--weights {wrong}: expected MODEL=FILE.")
    found: dict[str, str] = {}
    for name, _, file in (pair.partition("=") for pair in pairs):
        if found.setdefault(name, file) != file:
            raise ValueError(f"--weights has {found[name]} and {file} for {name}: leave one out.")
    return found


def write_results(folder: Path, rows: Sequence[dict]) -> None:
    """Write results.json and results.md.

    Args:
        folder: Where they go.
        rows: Rows with gaps.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "results.json", results_text(rows))
    write_atomically(folder / "results.md", report(rows))


def make_translations(name: str, *, pair: Pair, data: Path, out: Path) -> Path:
    """Find a translated source, or make one without training.

    Args:
        name: A folder, ``fourier`` or ``lab``.
        pair: The domains.
        data: Folder of the data.
        out: Folder of the results.

    Returns:
        Folder of the translated set.

    Raises:
        FileNotFoundError: There is no such folder.
        TrainingError: The translation failed.
    """
    if name not in CHEAP_TRANSLATORS:
        if not Path(name).is_dir():
            raise FileNotFoundError(
                f"--translations {name}: no such folder; make one with tools/translate_dataset.py, or name one of "
                f"{list(CHEAP_TRANSLATORS)}."
            )
        return Path(name).resolve()
    folder = out / "translated" / name
    config = choose_methods([LOWER_BOUND], CONFIGS, pair.name)[LOWER_BOUND]
    command = [sys.executable, str(ROOT / "tools/translate_dataset.py"), str(config), name]
    environment = {**os.environ, pair.variable: str(data)}
    done = subprocess.run([*command, "--out", str(folder)], env=environment, check=False)
    if done.returncode != 0:
        raise TrainingError(f"the translation failed with exit status {done.returncode}.")
    return folder


class Log:
    """Prints lines with the time and keeps them in a file.

    Args:
        path: The file.
    """

    def __init__(self, *, path: Path) -> None:
        self.path = path

    def __call__(self, line: str) -> None:
        """Say a line."""
        text = f"{time.strftime('%H:%M:%S')} {line}"
        print(text, flush=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(text + "\n")


def check_used(
    args: argparse.Namespace, models: Sequence[str], methods: Mapping[str, Path]
) -> None:
    """Refuse options that would do nothing.

    Args:
        args: Parsed command line.
        models: Names of the networks.
        methods: Config file by method.

    Raises:
        ValueError: Nobody trains on the translations, or a model with weights is not trained.
    """
    unused = sorted(set(read_pairs(args.weights)) - set(models))
    if unused:
        raise ValueError(f"--weights names {unused}, but --models are {list(models)}.")
    if args.translations is None or "translated_source" in args.tricks:
        return
    if not any(is_translated(cfg) for cfg in read_methods(dict(methods)).values()):
        raise ValueError(
            f"--translations {args.translations}: of {list(methods)} none trains on translated images; add --tricks "
            "translated_source, or leave it out."
        )


def read_settings(args: argparse.Namespace) -> Settings:
    """Turn the command line into settings, and check them.

    Args:
        args: Parsed command line.

    Returns:
        The settings.

    Raises:
        ValueError: A name is unknown, or an option would do nothing.
        FileNotFoundError: Data are missing.
    """
    pair = read_pair(args.pair, CONFIGS)
    models = tuple(dict.fromkeys(args.models or [pair.network]))
    methods = choose_methods(args.methods, CONFIGS, pair.name)
    data, out = args.data.resolve(), args.out.resolve()
    check_data(pair, data)
    os.environ[pair.variable] = str(data)
    check_used(args, models, methods)
    # Before a translation, which takes its time.
    tricks = check_tricks(args.tricks)
    evaluation = read_evaluation(args, pair, data)
    out.mkdir(parents=True, exist_ok=True)
    translations = (
        None
        if args.translations is None
        else make_translations(args.translations, pair=pair, data=data, out=out)
    )
    return Settings(
        data=data,
        out=out,
        methods=methods,
        networks=models,
        seeds=tuple(dict.fromkeys(args.seeds)),
        evaluation=evaluation,
        tricks=tricks,
        weights=read_pairs(args.weights),
        translations=translations,
        options=args.cfg_options,
        pair=pair,
    )


def read_evaluation(args: argparse.Namespace, pair: Pair, data: Path) -> EvaluationSet:
    """Read what a benchmark evaluates on.

    Args:
        args: Parsed command line.
        pair: The domains.
        data: Folder of the data.

    Returns:
        The labeled images.

    Raises:
        ValueError: ``--eval-split`` names a list of nothing, or the labels do not fit.
        FileNotFoundError: Files are missing.
    """
    template = read_config(CONFIGS / "_base_/pairs" / f"{pair.name}.py")
    folder = args.eval_data or (pair.evaluation and data / pair.evaluation)
    if folder:
        return read_evaluation_set(
            folder,
            args.eval_split or "val",
            label_space=template.val_dataloader.dataset.label_space,
            data=data,
            target_weight=args.target_bn,
        )
    if args.eval_split is not None:
        raise ValueError(
            f"--eval-split {args.eval_split} is a list in --eval-data; without that, {pair.name} validates on the "
            "images of its configs."
        )
    return configured_evaluation_set(template, target_weight=args.target_bn)


def collect(out: Path) -> None:
    """Write the results of everything that is finished, whatever it was evaluated on.

    Args:
        out: Folder of the benchmark.
    """
    write_results(out, merge_rows([finished_rows(out)]))


def merge(files: Sequence[Path], out: Path) -> None:
    """Put several results together.

    Args:
        files: The results.json of each.
        out: Folder of the results.json of all.

    Raises:
        ValueError: The folder has another results.json, a file is none, or their rows do not go together.
        FileNotFoundError: A file is missing.
    """
    target = out / "results.json"
    if target.exists() and target.resolve() not in [file.resolve() for file in files]:
        raise ValueError(f"{out} holds results.json already: choose another --out, or remove it.")
    write_results(out, merge_rows([read_results(file) for file in files]))


def say_plan(runs: Sequence[BenchmarkRun], settings: Settings, say: Log) -> None:
    """Say what a benchmark will do and from which weights.

    Args:
        runs: Its runs.
        settings: What was asked for.
        say: Where to.
    """
    warmups = {id(run.warmup) for run in runs if run.warmup is not None}
    own = list(dict.fromkeys(run.method for run in runs if run.warmup is None))
    say(
        f"{len(runs)} runs after {len(warmups)} warm-ups; with a warm-up of their own: {own or 'none'}; evaluation "
        f"on {settings.evaluation.title}, {settings.evaluation.images} images"
    )
    for network in settings.networks:
        weights = next(run.protocol["initial_weights"] for run in runs if run.network == network)
        note = "random weights, no ImageNet" if weights == "scratch" else weights
        say(f"{network} starts from {note}")
    replaced = {(run.method, run.replaced_network, run.network) for run in runs}
    for method, written_for, network in sorted((each for each in replaced if each[1]), key=str):
        say(
            f"{method} was written for {written_for} and runs on {network}: --models names other networks"
        )
    for name in settings.options:
        without = dict.fromkeys(run.method for run in runs if name in run.missed_options)
        if without:
            say(
                f"--cfg-options {name} has no place in the configs of {', '.join(without)}: left out"
            )


def run_benchmark(args: argparse.Namespace) -> int:
    """Train, evaluate and write what is not there yet.

    Args:
        args: Parsed command line.

    Returns:
        Exit status: 1 where a run failed.

    Raises:
        ValueError: An option does not fit, or the folder holds something else.
        FileNotFoundError: A config, data or weights are missing.
        TrainingError: The translation failed.
    """
    settings = read_settings(args)
    runs = plan_runs(settings)
    check_folders(runs)
    planned = [row_of_plan(run, settings.evaluation) for run in runs]
    check_comparable([*finished_rows(settings.out), *planned])
    say = Log(path=settings.out / "benchmark.log")
    say_plan(runs, settings, say)
    threads = args.threads or max(1, len(os.sched_getaffinity(0)) // args.jobs)
    variables = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    # Modules of a method of one's own lie beside its config.
    folders = [str(path.parent) for path in settings.methods.values()]
    variables["PYTHONPATH"] = os.pathsep.join(
        [*dict.fromkeys(folders), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    processes = Processes(environment={**os.environ, **variables}, folder=Path.cwd())
    execution = Execution(
        processes=processes, evaluation=settings.evaluation, threads=threads, say=say
    )
    seen: dict[str, float] = {"finished": -1.0, "said": time.monotonic(), "stale": 0.0}

    def tick() -> None:
        finished = sum(execution.result_file(run).is_file() for run in runs)
        if finished != seen["finished"]:
            try:
                collect(settings.out)
                seen["stale"] = 0.0
            except ValueError as error:
                # Another call beside this one; what trains here goes on.
                say(str(error))
                seen["stale"] = 1.0
            seen["finished"] = finished
        if time.monotonic() - seen["said"] >= PROGRESS_SECONDS:
            seen["said"] = time.monotonic()
            say(execution.progress(runs))

    # The pool of jobs waits for its threads, and these for their processes.
    stop_on_signal(processes)
    failures = run_jobs(execution.jobs(runs), workers=args.jobs, tick=tick)
    tick()
    if processes.stopped:
        raise StoppedError
    for error in failures.values():
        say(str(error))
    say(execution.progress(runs))
    if seen["stale"]:
        say(f"{settings.out / 'results.md'} was not renewed")
        return 1
    say(f"results: {settings.out / 'results.md'}")
    return 1 if failures else 0


def stop_on_signal(processes: Processes) -> None:
    """End the processes where this one is asked to end.

    Args:
        processes: The processes.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: processes.stop())


def main() -> int:
    """Run, merge or report; return the exit status."""
    args = parse_args()
    # MMEngine says at every config that it found the data; results are what is read here.
    logging.disable(logging.INFO)
    try:
        if args.merge is not None:
            merge(args.merge, args.out)
            return 0
        if args.report is not None:
            rows = merge_rows([read_results(path) for path in args.report])
            if args.figure is not None:
                control = control_scores(args.control) if args.control is not None else ()
                write_atomically(args.figure, figure(rows, control=control))
            elif args.page is None:
                print(report(rows), end="")
            for page in args.page or []:
                write_atomically(page, fill_page(page, rows))
            return 0
        return run_benchmark(args)
    except (*MISTAKES, TrainingError) as error:
        if sys.flags.dev_mode:
            raise
        print(f"run_benchmark: {describe(error)}", file=sys.stderr)
        return 1
    except (StoppedError, KeyboardInterrupt):
        print("run_benchmark: stopped; the same command continues from the last checkpoints")
        return 130


if __name__ == "__main__":
    sys.exit(main())
