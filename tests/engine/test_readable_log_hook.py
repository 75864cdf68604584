from pathlib import Path

from mmengine.logging import MMLogger

from mmdrsl.engine.launch import read_config


def test_losses_from_the_first_step_and_no_line_per_parameter(train, tmp_path):
    train(tmp_path / "run", log_level="INFO", **{"default_hooks.logger.interval": 3})
    text = next((tmp_path / "run").glob("*/*.log")).read_text()
    lines = [line for line in text.splitlines() if "Iter(train)" in line]
    assert [line.split("[")[1].split("]")[0] for line in lines] == ["1/4", "2/4", "3/4"], lines
    assert all("eta: " in line and "  loss: " in line for line in lines)
    assert "AdamW, tensors of weights: " in text
    assert "lr 0.002, weight decay 0.01" in text
    for flood in ("paramwise_options", "Hooks will be executed", "FileClient"):
        assert flood not in text


def test_a_variable_is_said_once(scenes_root, tmp_path, monkeypatch):
    monkeypatch.setenv("MMDRSL_SCENES", str(scenes_root))
    MMLogger._instance_dict.clear()
    log = tmp_path / "log.txt"
    MMLogger.get_instance("once", log_file=str(log), log_level="INFO")
    config = Path(__file__).parents[2] / "configs/self_training/deeplabv3plus_scenes2scenes.py"
    for _ in range(3):
        read_config(config)
    assert log.read_text().count("Using env variable `MMDRSL_SCENES`") == 1
    MMLogger._instance_dict.clear()
