"""rank_checkpoints.py on networks whose order is known."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch
from mmseg.registry import MODELS

from mmdrsl.engine.launch import read_config, run_tool

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "configs/dacs/deeplabv3plus_scenes2scenes.py"


@pytest.fixture
def rank(monkeypatch, capsys, scenes_root):
    path = ROOT / "tools" / "analysis_tools" / "rank_checkpoints.py"
    spec = importlib.util.spec_from_file_location("rank_checkpoints", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setenv("MMDRSL_SCENES", str(scenes_root))

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["rank_checkpoints.py", *map(str, arguments)])
        run_tool("rank_checkpoints", module.main)
        return capsys.readouterr().out

    return run


@pytest.fixture
def checkpoints(tmp_path, monkeypatch, scenes_root):
    """A network that follows the image's brightness, one that says the same everywhere, one in between."""
    monkeypatch.setenv("MMDRSL_SCENES", str(scenes_root))
    torch.manual_seed(0)
    model = MODELS.build(read_config(CONFIG).model)
    model.add_teacher(dict(type="ExponentialMovingAverage", momentum=0.5))
    paths = []
    head = model.segmentor.decode_head.conv_seg
    for name, scale in (("sharp", 300.0), ("flat", 0.0), ("soft", 10.0)):
        with torch.no_grad():
            head.weight.normal_(generator=torch.Generator().manual_seed(1)).mul_(scale)
            head.bias.zero_()
        model.teacher.steps.zero_()
        model.teacher.update_parameters(model.networks())
        paths.append(tmp_path / f"{name}.pth")
        torch.save({"state_dict": model.state_dict()}, paths[-1])
    return paths


def test_the_order_and_the_correlation(rank, checkpoints, tmp_path):
    out = tmp_path / "scores.json"
    table = rank(CONFIG, *checkpoints, "--num-images", 3, "--miou", 30, 10, 20, "--json", out)
    found = json.loads(out.read_text())
    scores = {Path(row["checkpoint"]).stem: row["scores"] for row in found["rows"]}
    assert scores["sharp"]["information"] > scores["soft"]["information"]
    assert (
        scores["soft"]["information"] > scores["flat"]["information"] == pytest.approx(0, abs=1e-5)
    )
    assert scores["flat"]["entropy"] == pytest.approx(-1, abs=1e-5)
    assert all(row["teacher"] == pytest.approx(1) for row in scores.values())
    assert found["correlations"]["information"] == pytest.approx(1)
    assert "rank correlation with --miou" in table
    # The same numbers again.
    rank(CONFIG, checkpoints[0], "--num-images", 3, "--json", out)
    assert json.loads(out.read_text())["rows"][0]["scores"] == scores["sharp"]


def test_the_network_that_the_config_evaluates_is_ranked(rank, checkpoints, tmp_path):
    """A teacher of the scenes' config that is another network; and one that was never updated."""
    out = tmp_path / "scores.json"
    loaded = {path.stem: torch.load(path)["state_dict"] for path in checkpoints}
    mixed = {
        name: loaded["flat" if name.startswith("teacher.") else "sharp"][name]
        for name in loaded["flat"]
    }
    torch.save({"state_dict": mixed}, tmp_path / "mixed.pth")
    torch.save({"state_dict": {**mixed, "teacher.steps": torch.tensor(0)}}, tmp_path / "early.pth")
    rank(CONFIG, tmp_path / "mixed.pth", tmp_path / "early.pth", "--num-images", 2, "--json", out)
    late, early = (row["scores"] for row in json.loads(out.read_text())["rows"])
    assert late["entropy"] == pytest.approx(-1, abs=1e-5)
    assert late["teacher"] < 0.9
    assert early["entropy"] > -0.9
    assert "teacher" not in early


def test_what_cannot_be_ranked(rank, checkpoints, tmp_path, capsys):
    no_target = ROOT / "configs/source_only/deeplabv3plus_scenes2scenes.py"
    without = ("--cfg-options", "train_dataloader.dataset.target=None")
    for arguments, said in (
        ((CONFIG, *checkpoints, "--miou", 1), "--miou has 1 values for 3 checkpoints"),
        ((CONFIG, tmp_path / "absent.pth"), "absent.pth"),
        ((no_target, checkpoints[0], *without), "has no train_dataloader.dataset.target"),
    ):
        with pytest.raises(SystemExit):
            rank(*arguments)
        assert said in capsys.readouterr().err
