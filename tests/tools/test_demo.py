import importlib.util
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from mmengine.config import Config

from mmdrsl.scenes.writer import write_scenes

ROOT = Path(__file__).parents[2]
TINY = {
    "train_cfg.max_iters": 8,
    "default_hooks.self_training.warmup_iterations": 2,
    "default_hooks.self_training.rounds.0.iterations": 2,
    "default_hooks.self_training.rounds.1.iterations": 2,
    "default_hooks.self_training.rounds.2.iterations": 2,
    "default_hooks.modes.kmeans_iteration": 1,
    "default_hooks.logger.interval": 1,
}


@pytest.fixture(scope="module")
def demo():
    spec = importlib.util.spec_from_file_location("demo", ROOT / "tools/demo.py")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their own module up.
    sys.modules["demo"] = module
    spec.loader.exec_module(module)
    return module


def make_run(demo, folder, *, method="drsl", max_steps=100, first_step=0, warmup=None):
    return demo.Run(
        method=method,
        title=demo.METHOD_TITLES[method],
        cfg=Config(dict(train_cfg=dict(max_iters=max_steps))),
        config_file=folder / f"{method}.py",
        folder=folder / method,
        first_step=first_step,
        warmup_checkpoint=warmup,
    )


def log_step(run, step):
    folder = run.folder / "20200101_000000" / "vis_data"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scalars.json").write_text(json.dumps({"step": step}) + "\n")


def finish(run):
    run.checkpoint.write_bytes(b"weights")
    metrics = {"iteration": run.max_steps, "metrics": {"mIoU": 1.0, "aAcc": 2.0}}
    (run.folder / "rounds.json").write_text(json.dumps({"3": metrics}))


def test_options_reach_the_configs_that_have_them(demo):
    configs = demo.load_configs(5, TINY)
    assert [cfg.randomness.seed for cfg in configs.values()] == [5, 5, 5]
    assert "self_training" not in configs["source_only"].default_hooks
    assert "modes" not in configs["self_training"].default_hooks
    for method in ("self_training", "drsl"):
        rounds = configs[method].default_hooks.self_training.rounds
        assert [entry.iterations for entry in rounds] == [2, 2, 2]
    with pytest.raises(ValueError, match=r"none of .* has 'no\.such'"):
        demo.load_configs(5, {"no.such.entry": 1})
    with pytest.raises(ValueError, match="the training seed is --seed"):
        demo.load_configs(5, {"randomness.seed": 6})


def test_self_training_continues_the_warm_up_of_source_only(demo, tmp_path):
    runs = demo.plan_runs(demo.load_configs(0, TINY), tmp_path)
    source = runs["source_only"]
    assert runs["self_training"].warmup_checkpoint == source.folder / "iter_2.pth"
    assert 2 % source.cfg.default_hooks.checkpoint.interval == 0
    assert source.cfg.default_hooks.checkpoint.max_keep_ckpts == -1
    assert source.cfg.train_cfg.val_interval == 2
    assert runs["self_training"].first_step == 2
    assert runs["drsl"].first_step == 0
    assert runs["drsl"].warmup_checkpoint is None


def test_warm_up_must_leave_steps(demo, tmp_path):
    options = {**TINY, "default_hooks.self_training.warmup_iterations": 8}
    with pytest.raises(ValueError, match=r"warmup_iterations is 8, expected 1\.\.7"):
        demo.plan_runs(demo.load_configs(0, options), tmp_path)


def test_command_prefers_the_own_checkpoint_to_the_warm_up(demo, tmp_path):
    run = make_run(demo, tmp_path, method="self_training", warmup=tmp_path / "iter_10.pth")
    assert run.command()[-2:] == ["--load-from", str(tmp_path / "iter_10.pth")]
    run.folder.mkdir()
    (run.folder / "last_checkpoint").write_text("somewhere")
    assert run.command()[-1] == "--resume"


def test_folder_is_kept_for_the_same_config_only(demo, tmp_path):
    (tmp_path / "scenes.json").write_text("{}")
    run = make_run(demo, tmp_path)
    demo.prepare_run(run, tmp_path)
    finish(run)
    demo.prepare_run(run, tmp_path)
    assert run.is_finished()
    changed = make_run(demo, tmp_path, max_steps=50)
    demo.prepare_run(changed, tmp_path)
    assert not run.checkpoint.exists()


def test_weights_without_evaluation_are_trained_again(demo, tmp_path):
    (tmp_path / "scenes.json").write_text("{}")
    run = make_run(demo, tmp_path)
    demo.prepare_run(run, tmp_path)
    run.checkpoint.write_bytes(b"weights")
    demo.prepare_run(run, tmp_path)
    assert not run.checkpoint.exists()


def test_time_left_is_that_of_the_slowest_chain(demo, tmp_path):
    first = make_run(demo, tmp_path, method="source_only")
    second = make_run(demo, tmp_path, method="self_training", first_step=60)
    third = make_run(demo, tmp_path, method="drsl")
    progress = demo.Progress(chains=[[first, second], [third]])
    assert "not known yet" in progress.line(5.0)
    log_step(first, 70)
    log_step(third, 25)
    line = progress.line(60.0)
    assert "Training 39 %" in line
    assert "Source only 70/100, Self-training 60/100, DRSL 25/100" in line
    # 75 of 100 steps at 25 per minute; the other chain needs one minute only.
    assert line.endswith("; 3 min 00 s left")


def test_time_left_counts_only_steps_of_this_call(demo, tmp_path):
    run = make_run(demo, tmp_path)
    log_step(run, 50)
    progress = demo.Progress(chains=[[run]])
    log_step(run, 60)
    assert progress.line(10.0).endswith("; 40 s left")
    log_step(run, 100)
    assert progress.line(10.0).endswith("; finishing")


def test_failure_names_the_log_and_shows_its_end(demo, tmp_path, monkeypatch):
    run = make_run(demo, tmp_path)
    run.folder.mkdir()
    script = "import sys; print('the reason'); sys.exit(3)"
    monkeypatch.setattr(demo.Run, "command", lambda run: [sys.executable, "-c", script])
    with pytest.raises(demo.TrainingError) as caught:
        demo.train_chain([run], demo.Processes(environment={}, folder=ROOT))
    message = str(caught.value)
    assert "DRSL failed with exit status 3" in message
    assert "the reason" in message
    assert str(run.log) in message


def test_stop_ends_the_running_process_and_starts_no_other(demo, tmp_path, monkeypatch):
    runs = [make_run(demo, tmp_path, method=method) for method in ("source_only", "drsl")]
    for run in runs:
        run.folder.mkdir()
    script = "import time; time.sleep(60)"
    monkeypatch.setattr(demo.Run, "command", lambda run: [sys.executable, "-c", script])
    trainer = demo.Processes(environment={}, folder=ROOT)
    chain = threading.Thread(target=demo.train_chain, args=(runs, trainer))
    chain.start()
    deadline = time.monotonic() + 10
    while not trainer.processes and time.monotonic() < deadline:
        time.sleep(0.01)
    trainer.stop()
    chain.join(timeout=10)
    assert not chain.is_alive()
    assert [process.poll() is not None for process in trainer.processes] == [True]


def test_finished_runs_start_no_process(demo, tmp_path):
    run = make_run(demo, tmp_path)
    run.folder.mkdir()
    finish(run)
    trainer = demo.Processes(environment={}, folder=ROOT)
    demo.train_chain([run], trainer)
    assert trainer.processes == []


def call_demo(data, work_dir):
    command = [
        sys.executable,
        "tools/demo.py",
        "--seed",
        "3",
        "--data",
        data,
        "--work-dir",
        work_dir,
    ]
    options = [f"{name}={value}" for name, value in TINY.items()]
    return subprocess.run(
        [*map(str, command), "--cfg-options", *options], cwd=ROOT, capture_output=True, text=True
    )


@pytest.mark.slow
def test_tiny_demo_from_end_to_end(tmp_path):
    data, work_dir = tmp_path / "scenes", tmp_path / "work"
    write_scenes(out_dir=data, num_game=5, num_camera_train=4, num_camera_val=3)
    first = call_demo(data, work_dir)
    assert first.returncode == 0, first.stdout + first.stderr
    summary = json.loads((work_dir / "summary.json").read_text())
    assert list(summary) == ["seed", "minutes", "source_only", "self_training", "drsl"]
    assert summary["seed"] == 3
    for method in ("source_only", "self_training", "drsl"):
        entry = summary[method]
        assert 0 <= entry["mIoU"] <= 100
        assert 0 <= entry["aAcc"] <= 100
        assert "road" in entry["IoU"]
        mean = sum(entry["IoU"].values()) / len(entry["IoU"])
        assert mean == pytest.approx(entry["mIoU"], abs=0.02)
    assert (work_dir / "seed_3" / "summary.json").read_text() == json.dumps(
        summary, indent=2
    ) + "\n"
    assert "Measured order on this seed" in first.stdout
    page = (work_dir / "report.html").read_text()
    assert "http" not in page
    for section in ("results", "classes", "rounds", "predictions", "pseudo-labels", "modes"):
        assert f'<section id="{section}">' in page
    # 3 validation images with 4 label maps, 3 x 2 series of 3 rounds and a confidence, 3 pairs.
    assert page.count("data:image/png") == 3 * 4 + 3 * 2 * 4 + 3 * 2

    weights = sorted(work_dir.glob("seed_3/*/iter_8.pth"))
    written = [path.stat().st_mtime_ns for path in weights]
    second = call_demo(data, work_dir)
    assert second.returncode == 0, second.stdout + second.stderr
    assert len(weights) == 3
    assert [path.stat().st_mtime_ns for path in weights] == written
    again = json.loads((work_dir / "summary.json").read_text())
    assert {**again, "minutes": 0} == {**summary, "minutes": 0}
