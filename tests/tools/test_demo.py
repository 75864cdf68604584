import importlib.util
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mmseg.utils import register_all_modules

from mmdrsl.scenes.writer import write_scenes
from mmdrsl.versions import environment

ROOT = Path(__file__).parents[2]
TINY = {
    "train_cfg.max_iters": 8,
    "warmup_iterations": 2,
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
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def planned(demo, scenes_root, tmp_path, monkeypatch):
    register_all_modules(init_default_scope=True)
    monkeypatch.setenv("MMDRSL_SCENES", str(scenes_root))

    def call(**options):
        args = demo.parse_args(["--data", str(scenes_root), "--work-dir", str(tmp_path)])
        args.cfg_options = {**TINY, **options}
        return demo.plan(args)[1]

    return call


def test_three_methods_share_one_warm_up_and_have_one_teacher(planned):
    runs = planned()
    assert [run.method for run in runs] == ["source_only", "drsl", "self_training"]
    assert len({run.warmup.hash for run in runs}) == 1
    for run in runs:
        cfg = run.training.cfg
        assert cfg.default_hooks.teacher.evaluate
        assert cfg.default_hooks.teacher.begin == 2
        assert cfg.default_hooks.logger.interval == 1
        assert run.protocol["network"] == "teacher"
        assert cfg.val_dataloader is not None


def test_options_are_checked(planned, demo):
    with pytest.raises(ValueError, match=r"none of .* has 'no\.such'"):
        planned(**{"no.such.entry": 1})
    with pytest.raises(ValueError, match="has no effect"):
        planned(**{"randomness.seed": 6})
    with pytest.raises(SystemExit):
        demo.parse_args(["--seed", "-1"])


def test_first_page_shows_the_scenes_that_are_written(demo, tmp_path):
    rendered = demo.example_images(tmp_path / "scenes")
    write_scenes(
        out_dir=tmp_path / "scenes", seed=0, num_game=1, num_camera_train=1, num_camera_val=1
    )
    read = demo.example_images(tmp_path / "scenes")
    assert [title for title, _ in rendered] == ["Game look, labeled", "Camera look, not labeled"]
    for (_, first), (_, second) in zip(rendered, read, strict=True):
        assert first.shape == (128, 256, 3)
        assert np.array_equal(first, second)
    assert not np.array_equal(rendered[0][1], rendered[1][1])
    demo.show_progress(tmp_path, rendered, [], "rendering the scenes")
    assert "Not finished: rendering the scenes" in (tmp_path / "report.html").read_text()


def test_stored_oracle_has_the_recipe_of_the_demo(demo, scenes_root, tmp_path, monkeypatch):
    register_all_modules(init_default_scope=True)
    monkeypatch.setenv("MMDRSL_SCENES", str(scenes_root))
    args = demo.parse_args(["--data", str(scenes_root), "--work-dir", str(tmp_path)])
    run = demo.plan(args)[1][0]
    # These scenes are others.
    assert demo.stored_oracle(run, scenes_root, {}) is None
    scenes = json.loads(demo.STORED_ORACLE.read_text())["scenes"]
    (tmp_path / "scenes.json").write_text(json.dumps(scenes))
    stored = demo.stored_oracle(run, tmp_path, {})
    assert stored["oracle"]["mIoU"] == pytest.approx(
        sum(stored["oracle"]["IoU"].values()) / len(stored["oracle"]["IoU"]), abs=0.02
    )
    assert demo.stored_oracle(run, tmp_path, {"optim_wrapper.optimizer.lr": 1}) is None
    for change in ({"tricks": ()}, {"protocol": {**run.protocol, "steps": 8}}):
        assert demo.stored_oracle(replace(run, **change), tmp_path, {}) is None


def test_gains_name_what_is_there_before_any_round(demo):
    summary = {
        "source_only": {"mIoU": 21.66},
        "target_statistics": {"mIoU": 29.0},
        "drsl": {"mIoU": 33.84},
    }
    text = demo.gains_text(summary, {"drsl": "DRSL"}, {"source_only": {}, "drsl": {0: 29.6, 1: 31}})
    assert text.startswith("Source-only training has 21.7, and 29.0 where only")
    assert "Of DRSL's 33.8, 29.6 are there at the end of the warm-up" in text


def call_demo(data, work_dir):
    command = [sys.executable, "tools/demo.py", "--seed", "3", "--data", data]
    options = [f"{name}={value}" for name, value in TINY.items()]
    return subprocess.run(
        [*map(str, command), "--work-dir", str(work_dir), "--cfg-options", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_tiny_demo_from_end_to_end(tmp_path):
    data, work_dir = tmp_path / "scenes", tmp_path / "work"
    write_scenes(out_dir=data, num_game=5, num_camera_train=4, num_camera_val=3)
    first = call_demo(data, work_dir)
    assert first.returncode == 0, first.stdout + first.stderr
    summary = json.loads((work_dir / "summary.json").read_text())
    # These scenes and this schedule are not those of the stored oracle.
    methods = ["source_only", "target_statistics", "drsl", "self_training"]
    assert list(summary) == ["seed", "minutes", *methods]
    assert summary["seed"] == 3
    assert summary["target_statistics"] != summary["source_only"]
    for method in methods:
        entry = summary[method]
        assert 0 <= entry["mIoU"] <= 100
        assert "road" in entry["IoU"]
        mean = sum(entry["IoU"].values()) / len(entry["IoU"])
        assert mean == pytest.approx(entry["mIoU"], abs=0.02)
    assert "Measured order on this seed" in first.stdout
    page = (work_dir / "report.html").read_text()
    for section in ("results", "classes", "rounds", "predictions", "pseudo-labels", "modes", "run"):
        assert f'<section id="{section}">' in page
    assert f"tools/demo.py --seed 3 --data {data}" in page
    assert environment() in page
    assert "Not finished" not in page
    weights = sorted(work_dir.glob("mean_teacher/*/seed_3/*/iter_8.pth"))
    written = [path.stat().st_mtime_ns for path in weights]
    second = call_demo(data, work_dir)
    assert second.returncode == 0, second.stdout + second.stderr
    assert len(weights) == 3
    assert [path.stat().st_mtime_ns for path in weights] == written
    again = json.loads((work_dir / "summary.json").read_text())
    assert {**again, "minutes": 0} == {**summary, "minutes": 0}
