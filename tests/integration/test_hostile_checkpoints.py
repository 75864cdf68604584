"""No tool runs the code that a checkpoint holds, and each says in one line what is wrong with a file."""

import logging
import runpy
import shutil
import sys
from pathlib import Path

import pytest
import torch
from mmengine.logging import MMLogger
from run_tools import DRSL_CONFIG, ROOT

FILE = "given.pth"
TRANSLATOR = "configs/translation/cycada_scenes2scenes.py"
# Where each tool reads a checkpoint.
COMMANDS = {
    "test": ["tools/test.py", DRSL_CONFIG, FILE, "--work-dir", "run"],
    "train": ["tools/train.py", DRSL_CONFIG, "--load-from", FILE, "--work-dir", "run"],
    "train of a resumed run": ["tools/train.py", DRSL_CONFIG, "--work-dir", "run", "--resume"],
    "label": ["tools/generate_pseudo_labels.py", DRSL_CONFIG, FILE, "--out", "out"],
    "predict": ["tools/predict.py", DRSL_CONFIG, FILE, "images", "--out", "out"],
    "export": ["tools/model_converters/export_segmentor.py", DRSL_CONFIG, FILE, "--out", "out"],
    "translate": ["tools/translate_dataset.py", TRANSLATOR, FILE, "--out", "out"],
    "convert-backbone": [
        "tools/model_converters/convert_backbone.py", FILE, "--arch", "resnet50", "--out", "out",
    ],
    "mode_maps": ["tools/analysis_tools/mode_maps.py", DRSL_CONFIG, FILE],
    "mode_purity": ["tools/analysis_tools/mode_purity.py", DRSL_CONFIG, FILE],
    "compare_statistics": ["tools/analysis_tools/compare_statistics.py", DRSL_CONFIG, FILE],
    "evaluate_translation": [
        "tools/analysis_tools/evaluate_translation.py", DRSL_CONFIG, FILE, "images",
    ],
}  # fmt: skip


class Attack:
    """Touches a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.fixture
def run(scenes_root, tmp_path, monkeypatch, capfd):
    """Run a tool in this process; return the lines that it ends with."""
    monkeypatch.setenv("MMDRSL_SCENES", str(scenes_root))
    monkeypatch.chdir(tmp_path)
    shutil.copytree(scenes_root / "game" / "images", tmp_path / "images")

    def call(command):
        MMLogger._instance_dict.clear()
        tool, *options = command
        options = [str(ROOT / each) if each.startswith("configs/") else each for each in options]
        monkeypatch.setattr(sys, "argv", [str(ROOT / tool), *options])
        monkeypatch.syspath_prepend(str((ROOT / tool).parent))
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(sys.argv[0], run_name="__main__")
        logging.disable(logging.NOTSET)
        assert ended.value.code == 1
        errors = capfd.readouterr().err
        assert "Traceback" not in errors
        return [line for line in errors.splitlines() if line.startswith(f"{call.name}: ")]

    return call


# One of each way: through the Runner, its resumption, and this project's own reader.
FAST = ("test", "train of a resumed run", "label")


def slow_but(names, fast):
    return [name if name in fast else pytest.param(name, marks=pytest.mark.slow) for name in names]


@pytest.mark.parametrize("name", slow_but(COMMANDS, FAST))
def test_no_tool_runs_the_code_of_a_checkpoint(run, tmp_path, name):
    run.name = name.split()[0]
    command = COMMANDS[name]
    touched = tmp_path / "touched"
    path = tmp_path / FILE
    if FILE not in command:
        (tmp_path / "run").mkdir()
        path = tmp_path / "run" / "iter_3.pth"
        (tmp_path / "run" / "last_checkpoint").write_text(str(path))
    weights = {"decode_head.conv_seg.bias": torch.zeros(3)}
    torch.save(dict(meta={}, state_dict=weights, evil=Attack(touched)), path)
    (line,) = run(command)
    assert path.name in line
    assert "no checkpoint of tensors" in line
    assert "touch" in line.replace("touched", "") or "pathlib" in line
    assert not touched.exists()
    # What the user trusts is read, and then refused for its weights.
    (line,) = run([*command, "--trust-checkpoint", str(path)])
    assert touched.exists()
    assert "no checkpoint of tensors" not in line


@pytest.mark.parametrize(
    "name",
    slow_but(["test", "train", "label", "export", "predict", "translate"], ("test", "export")),
)
def test_what_is_not_there_is_said_in_one_line(run, name):
    run.name = name
    command = list(COMMANDS[name])
    (line,) = run(command)
    assert FILE in line
    command[1] = "configs/none.py"
    (line,) = run(command)
    assert "There is no config" in line
