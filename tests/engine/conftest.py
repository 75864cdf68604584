"""Real runs of a few steps on four small scenes."""

import pytest
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.runner import Runner
from short_runs import CONFIG, ROOT


@pytest.fixture
def build(scenes_root, tmp_path, monkeypatch):
    monkeypatch.setenv("MMDRSL_SCENES", str(scenes_root))
    runs = []

    def call(work_dir, config=CONFIG, resume=False, root=None, **options):
        if root is not None:
            monkeypatch.setenv("MMDRSL_SCENES", str(root))
        MMLogger._instance_dict.clear()
        runs.append(work_dir)
        cfg = Config.fromfile(str(ROOT / config))
        cfg.merge_from_dict(
            {
                "train_cfg.max_iters": 4,
                "train_cfg.val_interval": 4,
                "default_hooks.self_training.warmup_iterations": 1,
                "default_hooks.self_training.rounds": [
                    dict(iterations=1, portion=0.5, target_share=0.5),
                    dict(iterations=2, portion=0.5, target_share=0.5),
                ],
                "default_hooks.self_training.evaluate_rounds": False,
                # A page and its pictures take a second or two.
                "default_hooks.report": None,
                "default_hooks.checkpoint.interval": 3,
                "default_hooks.checkpoint.max_keep_ckpts": -1,
                "train_dataloader.batch_size": 4,
                "work_dir": str(work_dir),
                "experiment_name": f"run_{len(runs)}_{abs(hash(str(work_dir)))}",
                # MMEngine keeps one visualizer of a name, with the folder of the first run.
                "visualizer.name": f"run_{len(runs)}_{abs(hash(str(work_dir)))}",
                "log_level": "ERROR",
                "resume": resume,
                "val_cfg": None,
                "val_dataloader": None,
                "val_evaluator": None,
                **options,
            }
        )
        rounds, teacher = (cfg.default_hooks.get(name) for name in ("self_training", "teacher"))
        if rounds and teacher and "default_hooks.teacher.begin" not in options:
            teacher.begin = rounds.warmup_iterations
        if rounds and "default_hooks.self_training.labeler.policy" not in options:
            cfg.default_hooks.self_training.labeler = dict(
                cfg.default_hooks.self_training.get("labeler", {}),
                policy=dict(lowest_threshold=0.01),
            )
        loader = cfg.train_dataloader or dict(dataset={})
        for domain in loader["dataset"].values():
            for transform in domain.get("pipeline", ()) if isinstance(domain, dict) else ():
                # A quarter of the pixels.
                if transform.type == "RandomResize":
                    transform.scale = (128, 64)
                elif transform.type == "RandomCrop":
                    transform.crop_size = (64, 128)
        return Runner.from_cfg(cfg)

    return call


@pytest.fixture
def train(build, tmp_path):
    def call(work_dir=tmp_path / "run", **options):
        runner = build(work_dir, **options)
        runner.train()
        return runner

    return call
