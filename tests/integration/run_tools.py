"""Runs the command line tools as a user does, on a tiny set of scenes."""

import gc
import multiprocessing
import os
import runpy
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from mmengine.config import Config
from yapf.yapflib import yapf_api

ROOT = Path(__file__).resolve().parents[2]
DRSL_CONFIG = "configs/drsl/deeplabv3plus_scenes2scenes.py"
# Four steps of warm-up, then three rounds of two: ten steps through every stage.
TEN_STEPS = [
    "train_cfg.max_iters=10",
    "train_cfg.val_interval=10",
    "default_hooks.self_training.warmup_iterations=4",
    *(f"default_hooks.self_training.rounds.{index}.iterations=2" for index in range(3)),
    # After four steps a model is sure of nothing; these labels are about the mechanism.
    "default_hooks.self_training.labeler.policy.lowest_threshold=0.05",
    "default_hooks.teacher.begin=4",
    "default_hooks.checkpoint.interval=1",
    "default_hooks.logger.interval=1",
]
# Seeded in the warm-up, revived in the first round and in the last.
OF_MODES = [
    "default_hooks.modes.kmeans_iteration=2",
    "default_hooks.modes.interval=3",
    "custom_hooks.0.interval=2",
]
# Kills the training before the eighth step, in the middle of round 2.
KILL_IN_A_ROUND = """
import os, signal
from mmdrsl.engine.hooks import StepSeedHook
proceed = StepSeedHook.before_train_iter

def kill(hook, runner, *args, **kwargs):
    if runner.iter == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    proceed(hook, runner, *args, **kwargs)

StepSeedHook.before_train_iter = kill
"""

# A process that has imported everything and is copied for every tool: a start takes no seconds.
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(
    ["mmdrsl", "mmseg.apis", "sklearn.cluster", "matplotlib.backends.backend_agg", "run_tools"]
)
# Asking CUDA itself whether there is a GPU would keep the copies from using it.
os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")


def tool_environment(scenes_root):
    return {
        "MMDRSL_SCENES": str(scenes_root),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "PYTHON": sys.executable,
    }


def train_options(config=DRSL_CONFIG, *, source="source"):
    """Options that make a config of the scenes short and its crops half as wide and high."""
    crops = [
        f"train_dataloader.dataset.{domain}.pipeline.{step}=(64,128)"
        for domain in (source, "target")
        for step in ("2.scale", "3.crop_size")
    ]
    return [*TEN_STEPS, *crops, *(OF_MODES if config == DRSL_CONFIG else [])]


def train_command(work_dir, *options, config=DRSL_CONFIG, flags=(), source="source"):
    return [
        *("tools/train.py", str(config), "--work-dir", str(work_dir)),
        *flags,
        *("--cfg-options", *train_options(config, source=source), *options),
    ]


def _run(command, environment, folder, before, log):
    """What the copied process does."""
    with open(log, "wb") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    os.environ.update(environment)
    os.chdir(folder)
    torch.set_num_threads(1)
    # What is there already is not looked through again, and no config is made pretty for every checkpoint.
    gc.freeze()
    yapf_api.FormatCode = lambda text, **_: (text, True)
    sys.argv = [str(ROOT / command[0]), *command[1:]]
    # As the interpreter has it: the tool's own folder first, then PYTHONPATH.
    sys.path[:0] = [str(Path(sys.argv[0]).parent), *environment["PYTHONPATH"].split(os.pathsep)]
    exec(before, {})
    runpy.run_path(sys.argv[0], run_name="__main__")


def run_tool(command, scenes_root, *, before="", status=0, folder=ROOT, path=(), timeout=300):
    """Run a tool in a process of its own; return its output, fail where it ends with another status.

    Args:
        command: Path of the tool below the repository, then its options.
        scenes_root: The tiny set of scenes.
        before: Program to run in the process before the tool, for instance one that will kill it.
        status: Expected exit status; minus the signal for a process that is killed.
        folder: Working directory.
        path: Folders to import from beside the repository.
        timeout: Seconds.
    """
    environment = tool_environment(scenes_root)
    environment["PYTHONPATH"] = os.pathsep.join(map(str, [ROOT, *path]))
    ((found, output),) = _run_all([environment], command, before, folder, timeout)
    assert found == status, f"exit status {found}, expected {status}: {output[-6000:]}"
    return output


def with_test_of(exported, cfg):
    """Give an exported config the test set and the metric of its training; return the new file beside it.

    Args:
        exported: Path of the exported config.
        cfg: Config of the training.
    """
    plain = Config.fromfile(exported, import_custom_modules=False)
    for key in ("custom_imports", "test_dataloader", "test_evaluator", "test_cfg"):
        plain[key] = cfg[key]
    path = Path(exported).with_name("tested.py")
    plain.dump(path)
    return path


def run_ranks(command, scenes_root, *, ranks=2, before="", statuses=None, timeout=300):
    """Run a tool as several CPU ranks, as torchrun starts them; return the first one's output.

    Args:
        command: As for `run_tool`, without a launcher.
        scenes_root: The tiny set of scenes.
        ranks: How many.
        before: Program to run in every rank before the tool.
        statuses: Expected exit status of each rank, None for any; by default all are 0.
        timeout: Seconds.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = dict(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(free.getsockname()[1]))
    environments = [
        dict(
            **tool_environment(scenes_root),
            **place,
            RANK=str(rank),
            LOCAL_RANK=str(rank),
            WORLD_SIZE=str(ranks),
        )
        for rank in range(ranks)
    ]
    tool, *options = command
    command = [tool, "--launcher", "pytorch", *options]
    ends = _run_all(environments, command, before, ROOT, timeout)
    for rank, (found, output) in enumerate(ends):
        status = statuses[rank] if statuses else 0
        assert status in (None, found), f"rank {rank}: exit status {found}: {output[-6000:]}"
    return ends[0][1]


def _run_all(environments, command, before, folder, timeout):
    """Exit status and output of one process per environment."""
    end = time.monotonic() + timeout
    with tempfile.TemporaryDirectory() as logs:
        processes = []
        for number, environment in enumerate(environments):
            log = Path(logs, str(number))
            arguments = (list(map(str, command)), environment, str(folder), before, str(log))
            process = _SERVER.Process(target=_run, args=arguments)
            process.start()
            processes.append((process, log))
        ends = []
        for process, log in processes:
            process.join(max(0.0, end - time.monotonic()))
            if process.exitcode is None:
                process.kill()
                process.join()
            output = log.read_text(errors="replace") if log.is_file() else ""
            ends.append((process.exitcode, output))
    return ends


def run_program(command, scenes_root, timeout=300):
    """Run any program from the repository's root in a fresh interpreter; return its output, fail with it."""
    done = subprocess.run(
        list(map(str, command)),
        cwd=ROOT,
        env={**os.environ, **tool_environment(scenes_root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    return done.stdout
