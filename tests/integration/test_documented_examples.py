"""The examples of docs/add_a_*.md run as they are printed there, from a folder outside the package."""

import re
import sys

import pytest
import torch
from mmengine.logging import MessageHub, MMLogger
from mmengine.runner import Runner
from run_tools import ROOT

from mmdrsl.engine.launch import read_config
from mmdrsl.models.segmentors.export import export_segmentor

# One step of warm-up, and a round of one step.
SHORT = {
    "train_cfg.max_iters": 2,
    "train_cfg.val_interval": 2,
    "default_hooks.self_training.warmup_iterations": 1,
    "default_hooks.self_training.rounds": [dict(iterations=1, portion=0.2, target_share=0.5)],
    "default_hooks.self_training.evaluate_rounds": False,
    "default_hooks.checkpoint.interval": 2,
    "default_hooks.logger.interval": 1,
    "train_dataloader.batch_size": 4,
    "log_level": "ERROR",
}
NO_EVALUATION = {f"val_{part}": None for part in ("cfg", "dataloader", "evaluator")}


def write_example(page, folder):
    """Write every named block of a page beside a link to the checkout; return the config."""
    own = folder / "my_folder"
    own.mkdir()
    (folder / "mmdrsl").symlink_to(ROOT)
    text = (ROOT / "docs" / f"{page}.md").read_text()
    for code in re.findall(r"```python\n(# my_\w+\.py\n.*?)```", text, re.DOTALL):
        name = code.split("\n")[0].removeprefix("# ")
        assert not (own / name).exists(), f"{page}.md has {name} twice"
        (own / name).write_text(code)
    return own / "my_config.py"


@pytest.fixture
def train_example(scenes_root, tmp_path, monkeypatch):
    """Trains the example of a page for two steps."""

    def train(page, **options):
        monkeypatch.setenv("MMDRSL_SCENES", str(scenes_root))
        monkeypatch.setattr(sys, "path", [*sys.path])
        cfg = read_config(write_example(page, tmp_path))
        cfg.merge_from_dict({**SHORT, **options, "work_dir": str(tmp_path / "run")})
        MMLogger._instance_dict.clear()
        MessageHub._instance_dict.clear()
        runner = Runner.from_cfg(cfg)
        start = {name: value.clone() for name, value in runner.model.state_dict().items()}
        runner.train()
        return runner, start, set(runner.message_hub.log_scalars)

    return train


def moved(runner, start, prefix):
    return any(
        not torch.equal(value, start[name])
        for name, value in runner.model.state_dict().items()
        if name.startswith(prefix) and name.endswith("weight")
    )


def test_example_of_a_method(train_example):
    options = {"default_hooks.teacher.begin": 1, **NO_EVALUATION}
    runner, start, logged = train_example("add_a_method", **options)
    assert {"train/source.loss_ce", "train/squares.loss_squares"} <= logged
    assert "train/squares.certainty" in logged
    assert moved(runner, start, "segmentor.backbone")
    assert runner.cfg.title == "Maximum squares"


@pytest.mark.slow
def test_example_of_a_pair(train_example, tmp_path):
    options = {
        "default_hooks.modes.kmeans_iteration": 1,
        # After a step a model is sure of nothing.
        "default_hooks.self_training.labeler.policy.lowest_threshold": 0.05,
    }
    runner, start, logged = train_example("add_a_pair", **options)
    assert {"train/alignment.loss_alignment", "train/target.loss_ce", "val/IoU.plant"} <= logged
    assert runner.model.num_classes == 5
    assert moved(runner, start, "heads.mmdl")
    assert (tmp_path / "run/pseudo_labels/round_1/manifest.json").is_file()


@pytest.mark.slow
def test_example_of_a_model_trains_and_exports(train_example, tmp_path):
    options = {"default_hooks.teacher.begin": 1, **NO_EVALUATION}
    runner, start, _ = train_example("add_a_model", **options)
    for part in ("segmentor.backbone", "segmentor.decode_head", "heads.auxiliary",
                 "discriminators.output", "discriminators.auxiliary"):  # fmt: skip
        assert moved(runner, start, part), part
    _, weights = export_segmentor(
        runner.cfg, tmp_path / "run" / "iter_2.pth", tmp_path / "plain", teacher=False
    )
    exported = torch.load(weights, weights_only=True)["state_dict"]
    plain = runner.model.segmentor.state_dict()
    assert exported.keys() == plain.keys()
    assert all(torch.equal(value, plain[name]) for name, value in exported.items())
