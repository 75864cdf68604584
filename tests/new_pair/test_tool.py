"""The tool in this process, with made files."""

import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from mmdrsl.datasets.inspection.domain_report import REMEDIES
from mmdrsl.datasets.inspection.page import _problems

TOOL = Path(__file__).resolve().parents[2] / "tools" / "new_pair.py"


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """Run the tool; return its exit status."""
    for folder in ("rgb", "seg", "target"):
        (tmp_path / folder).mkdir()
    label = np.zeros((64, 64), np.uint8)
    label[32:] = 4
    for name in ("rgb/0.jpg", "seg/0.png", "target/0.jpg"):
        cv2.imwrite(str(tmp_path / name), label)
    (tmp_path / "classes.yaml").write_text("ids: {0: ground, 4: vehicle}")
    monkeypatch.chdir(tmp_path)
    main = runpy.run_path(str(TOOL))["main"]

    def run(*options, source=("rgb", "seg"), **replaced):
        for name, value in replaced.items():
            monkeypatch.setitem(main.__globals__, name, value)
        command = [
            *("new_pair", "--source", *source, "--target", "target", "--out", "my pair"),
            *("--classes", "classes.yaml", *options),
        ]
        monkeypatch.setattr(sys, "argv", command)
        return main()

    return run


def test_a_config_that_cannot_be_used_is_removed(tool, capsys):
    def fail(config):
        raise ValueError("no such class")

    assert tool(inspect_config=fail) == 2
    assert not Path("my pair/config.py").exists()
    assert "my pair/config.py is removed" in capsys.readouterr().err


def test_a_missing_folder_is_named_with_its_option(tool, capsys):
    assert tool(source=("rgb", "labels")) == 2
    assert "no folder labels: correct --source" in capsys.readouterr().err
    assert tool("--val", "images", "seg") == 2
    assert "no folder images: correct --val" in capsys.readouterr().err
    assert tool("--target", "drive.mp4") == 2
    assert "no target drive.mp4: give --target" in capsys.readouterr().err


def test_the_next_command_can_be_copied(tool, capsys):
    assert tool(inspect_config=lambda config: {}) == 0
    assert "Now: mmdrsl train 'my pair/config.py'" in capsys.readouterr().out


def test_more_problems_than_shown_name_the_command_that_shows_all():
    kind = next(iter(REMEDIES))
    report = SimpleNamespace(problems=[(kind, str(number)) for number in range(7)])
    assert "and 2 more; mmdrsl check CONFIG --json lists all" in _problems({"source": report})


def test_one_file_of_classes_is_for_all_sets(tool, capsys):
    assert tool("--val", "rgb", "seg", inspect_config=lambda config: {}) == 0
    assert "read for --source, --val, which need the same ids or colors" in capsys.readouterr().out


def test_ids_in_one_set_and_colors_in_another(tool, capsys):
    label = np.zeros((64, 64, 3), np.uint8)
    label[32:] = 1, 2, 3
    Path("colors").mkdir()
    cv2.imwrite("colors/0.png", label)
    assert tool("--val", "rgb", "colors") == 2
    assert "--source has ids, --val has colors: expected the same" in capsys.readouterr().err
    assert tool(source=("rgb", "colors")) == 2
    assert "classes.yaml has ids, --source has colors" in capsys.readouterr().err
