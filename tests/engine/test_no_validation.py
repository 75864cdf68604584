"""Nobody has labels of the target: a run without data to validate on needs no further keys."""

from pathlib import Path

import pytest
from mmengine.config import Config, ConfigDict
from mmengine.runner import Runner
from short_runs import CONFIG, ROOT

from mmdrsl.mmengine_private import without_idle_evaluation, without_idle_hooks

LEFT_OUT = {
    "none": {"val_dataloader": None},
    "deleted": {"val_dataloader": dict(_delete_=True)},
    "everything": {
        f"{part}_{name}": None for part in ("val", "test") for name in ("dataloader", "evaluator")
    },
}


@pytest.mark.parametrize("options", LEFT_OUT.values(), ids=LEFT_OUT)
def test_a_stock_config_without_validation_builds(options, tmp_path, scenes_root, monkeypatch):
    monkeypatch.setenv("MMDRSL_SCENES", str(scenes_root))
    cfg = Config.fromfile(str(ROOT / CONFIG))
    cfg.merge_from_dict({**options, "work_dir": str(tmp_path), "experiment_name": tmp_path.name})
    runner = Runner.from_cfg(cfg)
    assert runner.val_loop is None
    assert cfg.val_cfg is not None


def test_it_trains_and_still_tests(train, tmp_path):
    keys = ("val_cfg", "val_evaluator")
    stock = Config.fromfile(str(ROOT / CONFIG))
    options = {key: stock[key].to_dict() for key in keys}
    runner = train(tmp_path / "run", **options)
    assert (tmp_path / "run" / "iter_4.pth").is_file()
    assert "mIoU" in runner.test()


def test_data_without_an_evaluator_are_still_a_mistake(tmp_path, scenes_root, monkeypatch):
    monkeypatch.setenv("MMDRSL_SCENES", str(scenes_root))
    cfg = Config.fromfile(str(ROOT / CONFIG))
    cfg.merge_from_dict({"val_evaluator": None, "work_dir": str(tmp_path)})
    with pytest.raises(ValueError, match="val_evaluator"):
        Runner.from_cfg(cfg)


def test_the_config_of_the_caller_stays():
    cfg = ConfigDict(val_cfg=dict(), val_evaluator=dict(type="ClassIoUMetric"))
    found = without_idle_evaluation(cfg)
    assert (found.val_dataloader, found.val_evaluator, found.val_cfg) == (None, None, None)
    assert "val_dataloader" not in cfg
    assert cfg.val_evaluator.type == "ClassIoUMetric"
    whole = ConfigDict(val_dataloader=dict(batch_size=1), val_cfg=dict(), val_evaluator=dict())
    assert without_idle_evaluation(whole) is whole
    assert Path(Runner.from_cfg.__func__.__code__.co_filename).name == "mmengine_private.py"


def test_hooks_of_a_base_config_that_are_none_are_left_out(build, tmp_path):
    runner = build(tmp_path / "run", **{"default_hooks.teacher": None, "default_hooks.timer": None})
    names = {type(hook).__name__ for hook in runner.hooks}
    assert "SelfTrainingHook" in names
    assert not names & {"RunReportHook", "MeanTeacherHook", "IterTimerHook"}
    whole = ConfigDict(default_hooks=dict(timer=None))
    assert without_idle_hooks(whole) is whole
