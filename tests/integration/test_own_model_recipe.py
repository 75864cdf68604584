"""The recipe of docs/methods.md runs as it is printed there."""

import re

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.runner import Runner
from run_tools import ROOT

from mmdrsl.models.segmentors.export import export_segmentor


def recipe(tmp_path):
    text = (ROOT / "docs" / "methods.md").read_text().split("## Your own model")[1]
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert code.count('"configs/_base_/') == 4
    path = tmp_path / "own_model.py"
    path.write_text(code.replace('"configs/', f'"{ROOT}/configs/'))
    return Config.fromfile(path)


def test_recipe_trains_and_exports(scenes_root, tmp_path, monkeypatch):
    monkeypatch.setenv("MMDRSL_SCENES", str(scenes_root))
    cfg = recipe(tmp_path)
    cfg.merge_from_dict(
        {
            "train_cfg": dict(type="IterBasedTrainLoop", max_iters=3, val_interval=3),
            "default_hooks.self_training.warmup_iterations": 1,
            "default_hooks.self_training.rounds": [dict(iterations=2, target_share=0.5)],
            "default_hooks.self_training.evaluate_rounds": False,
            "default_hooks.checkpoint.interval": 3,
            "train_dataloader.batch_size": 2,
            "work_dir": str(tmp_path / "run"),
            "log_level": "ERROR",
            "val_cfg": None,
            "val_dataloader": None,
            "val_evaluator": None,
        }
    )
    MMLogger._instance_dict.clear()
    runner = Runner.from_cfg(cfg)
    start = {name: value.clone() for name, value in runner.model.state_dict().items()}
    runner.train()
    parts = ("segmentor.backbone", "segmentor.decode_head", "heads.auxiliary",
             "discriminators.output", "discriminators.auxiliary")  # fmt: skip
    for part in parts:
        moved = [
            not torch.equal(value, start[name])
            for name, value in runner.model.state_dict().items()
            if name.startswith(part) and "weight" in name
        ]
        assert moved
        assert any(moved), part
    _, weights = export_segmentor(cfg, tmp_path / "run" / "iter_3.pth", tmp_path / "plain")
    exported = torch.load(weights, weights_only=True)["state_dict"]
    plain = runner.model.segmentor.state_dict()
    assert exported.keys() == plain.keys()
    assert all(torch.equal(value, plain[name]) for name, value in exported.items())
