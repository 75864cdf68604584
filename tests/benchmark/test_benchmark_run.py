"""The tool as a user runs it, on a tiny data set in the layout of the benchmark."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from benchmark_data import CAMVID, write_benchmark, write_classes, write_images, write_list

# A dozen processes, most of whose time is their start.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
ROOT = Path(__file__).resolve().parents[2]
OPTIONS = [
    "warmup_iterations=4",
    "default_hooks.checkpoint.interval=1",
    "default_hooks.logger.interval=1",
    "train_cfg.max_iters=8",
    "train_dataloader.num_workers=0",
    # A model that is sure of something after four steps, so that there are labels.
    "optim_wrapper.optimizer.lr=0.03",
    "param_scheduler.0.start_factor=1.0",
    # The crops are those of larger images.
    "train_dataloader.dataset.source.pipeline.2.scale=(384,256)",
    "train_dataloader.dataset.target.pipeline.2.scale=(384,256)",
]
# An option must have a place in the config of a method.
OF_DRSL = [
    "default_hooks.self_training.warmup_iterations=4",
    "default_hooks.self_training.rounds.0.iterations=2",
    "default_hooks.self_training.rounds.1.iterations=2",
    "default_hooks.modes.kmeans_iteration=2",
]
MEASURED = ("mIoU", "aAcc", "IoU", "sequences", "mean_of_sequences", "gap_recovered", "config_hash")


# Files whose appearance is a moment to kill: a warm-up trains, a round is labeled or trained, a run is
# evaluated, a training is near its end; and whether the trainings are killed too, or live on alone.
MOMENTS = (
    ("warmup_*/iter_[23].pth", True),
    ("drsl/pseudo_labels/round_1/labels", True),
    ("*/evaluation_*/config.py", False),
    ("self_training/iter_[67].pth", True),
)


def command(data, out, *more, methods=("source_only", "oracle", "self_training", "drsl")):
    return [
        *(sys.executable, "tools/run_benchmark.py", "--data", str(data), "--out", str(out)),
        *("--methods", *methods, "--models", "deeplabv3plus_small", "--threads", "1"),
        *map(str, more),
        *("--cfg-options", *OPTIONS, *(OF_DRSL if "drsl" in methods else ())),
    ]


def start(*arguments, **options):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        command(*arguments, **options),
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # A group of its own, to be killed as one.
        start_new_session=True,
    )


def call(*arguments, **options):
    process = start(*arguments, **options)
    output = process.communicate(timeout=1500)[0]
    assert process.returncode == 0, output[-6000:]
    return output


def measured(out):
    """What must not depend on interruptions; a key that names the run."""
    rows = json.loads((out / "results.json").read_text())["runs"]
    return {(row["method"], row["seed"]): {name: row[name] for name in MEASURED} for row in rows}


def weights(out, method):
    file = out / f"plain/deeplabv3plus_small/seed_0/{method}/iter_8.pth"
    return torch.load(file, weights_only=False)["state_dict"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_benchmark(tmp_path_factory.mktemp("benchmark") / "data")


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    # MMEngine's options of the command line lose spaces and split at commas.
    out = tmp_path_factory.mktemp("whole") / "runs, all of them"
    call(data, out)
    return out


def test_results_are_complete(whole):
    rows = json.loads((whole / "results.json").read_text())["runs"]
    assert [row["method"] for row in rows] == ["source_only", "oracle", "drsl", "self_training"]
    source, oracle = rows[0]["mIoU"], rows[1]["mIoU"]
    for row in rows:
        assert set(row["sequences"]) == {"0016E5", "0006R0"}
        mean = sum(row["sequences"].values()) / 2
        assert row["mean_of_sequences"] == pytest.approx(mean, abs=0.001)
        assert row["mIoU"] == pytest.approx(sum(row["IoU"].values()) / len(row["IoU"]), abs=0.01)
        gap = None if oracle == source else 100 * (row["mIoU"] - source) / (oracle - source)
        assert row["gap_recovered"] == (None if gap is None else pytest.approx(gap, abs=0.1))
        assert row["warmup_minutes"] >= 0
        assert row["peak_memory_mb"] > 100
        assert row["protocol"]["initial_weights"] == "scratch"
        assert row["translations"] is None
    assert [row["shared_warmup"] for row in rows] == [True, False, True, True]
    page = (whole / "results.md").read_text()
    assert "| DRSL | 1 |" in page
    assert "ADVENT" not in page
    assert "random weights, no ImageNet" in (whole / "benchmark.log").read_text()


@pytest.mark.parametrize("method", ["self_training", "drsl", "minent", "cycada_feature"])
def test_shared_warm_up_gives_the_weights_of_a_whole_run(whole, data, tmp_path, method):
    # The warm-up has DRSL's head, and where the method has a second classifier or a discriminator, that as well.
    call(data, whole, methods=("drsl", method))
    # The same config from step 0, without the benchmark's sharing.
    config = whole / "plain/deeplabv3plus_small/seed_0" / f"{method}.py"
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
    }
    arguments = [sys.executable, "tools/train.py", str(config), "--work-dir", str(tmp_path)]
    done = subprocess.run(arguments, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    alone = torch.load(tmp_path / "iter_8.pth", weights_only=False)["state_dict"]
    shared = weights(whole, method)
    assert alone.keys() == shared.keys()
    assert all(torch.equal(alone[name], shared[name]) for name in alone)


def test_done_runs_are_skipped_and_others_added(whole, data):
    before = measured(whole)
    files = {path: path.stat().st_mtime_ns for path in whole.glob("plain/*/*/*/iter_8.pth")}
    assert len(files) >= 4
    output = call(data, whole, methods=("drsl", "dacs", "target_unused"))
    assert {path: path.stat().st_mtime_ns for path in files} == files
    assert "DRSL, deeplabv3plus_small, seed 0: training" not in output
    # Both begin with the warm-up of the first call.
    assert "deeplabv3plus_small, seed 0: training" in output
    assert "warm-up" not in "".join(line for line in output.splitlines() if ": training" in line)
    after = measured(whole)
    assert {key: after[key] for key in before} == before
    assert ("dacs", 0) in after
    # Frozen statistics: those of the warm-up, to the last step.
    last = weights(whole, "target_unused")
    runs = whole / "plain/deeplabv3plus_small/seed_0"
    chosen = (runs / "target_unused/warmup.txt").read_text()
    folder = runs / f"warmup_{chosen[:8]}"
    first = torch.load(folder / "iter_4.pth", weights_only=False)["state_dict"]
    # The warm-up has DRSL's head as well.
    assert first.keys() - last.keys()
    for name in (name for name in last if "running" in name):
        assert torch.equal(first[name], last[name])
    name = "segmentor.decode_head.conv_seg.weight"
    assert not torch.equal(first[name], last[name])


def test_killed_runs_end_with_the_same_results(whole, data, tmp_path):
    methods = ("source_only", "oracle", "self_training", "drsl")
    for moment, with_children in MOMENTS:
        process = start(data, tmp_path, "--jobs", "2", methods=methods)
        while process.poll() is None and not any(tmp_path.glob(f"plain/*/seed_0/{moment}")):
            time.sleep(0.02)
        assert process.poll() is None, process.communicate()[0][-6000:]
        if with_children:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()
        process.stdout.close()
    call(data, tmp_path, "--jobs", "2", methods=methods)
    expected = measured(whole)
    assert measured(tmp_path) == {key: expected[key] for key in measured(tmp_path)}
    assert len(measured(tmp_path)) == 4
    for method in methods:
        first, second = weights(whole, method), weights(tmp_path, method)
        assert all(torch.equal(first[name], second[name]) for name in first)


def test_other_data_are_evaluated_without_training_anew(whole, data, tmp_path):
    # Other ids, another split, other images.
    folder = tmp_path / "night"
    ids = [20 + number for number in range(10)]
    names = ["0001TP_1", "Seq05VD_1", "Seq05VD_2"]
    write_images(folder, names, ids, seed=9, suffix=".png", tint=30)
    write_list(folder, "test", names)
    write_classes(
        folder,
        ids={20 + number: name for number, name in CAMVID.items()},
        to_common={20 + number: min(number, 255) if number < 10 else 255 for number in CAMVID},
    )
    # Nor is a warm-up that nobody needs any more.
    warmups = [path for path in whole.glob("plain/*/seed_0/warmup_*") if path.is_dir()]
    assert warmups
    for warmup in warmups:
        shutil.rmtree(warmup)
    more = ("--eval-data", folder, "--eval-split", "test", "--threads", "2")
    output = call(data, whole, *more, methods=("source_only",))
    # The log names options such as default_hooks.self_training, too.
    assert ": training" not in output
    assert not any(warmup.exists() for warmup in warmups)
    rows = json.loads((whole / "results.json").read_text())["runs"]
    (row,) = (row for row in rows if row["evaluation"]["set"] == "night/test")
    assert row["method"] == "source_only"
    # Those of the training.
    assert row["threads"] == 1
    assert set(row["sequences"]) == {"0001TP", "Seq05VD"}
    # The tables of the first calls stay.
    page = (whole / "results.md").read_text()
    assert "on camvid/val, tricks: none" in page
    assert "on night/test, tricks: none" in page


def test_other_settings_are_refused_in_the_same_folder(whole, data):
    process = subprocess.run(
        [*command(data, whole, methods=("drsl",)), "optim_wrapper.optimizer.lr=0.1"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 1
    assert "was trained with another config" in process.stderr
