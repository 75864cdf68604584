"""The tool: what it writes beside the pair."""

import json
import re
import runpy
import sys
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from mmseg.apis import inference_model, init_model

from mmdrsl.engine.launch import read_config
from mmdrsl.export.stock_config import WRITTEN_BY

safetensors = pytest.importorskip("safetensors")
ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests" / "inference"))
from network_files import write_checkpoint  # noqa: E402

CONFIG = str(ROOT / "configs/drsl/deeplabv3plus_scenes2scenes.py")
TOOL = str(ROOT / "tools/model_converters/export_segmentor.py")
MEASURED = {"mIoU": 41.25, "aAcc": 88.5, "IoU.road": 91.26, "IoU.train": None}


@pytest.fixture(scope="module")
def checkpoint(scenes_root, tmp_path_factory):
    """Of step 10 of a run that was evaluated there."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMDRSL_SCENES", str(scenes_root))
        path = write_checkpoint(CONFIG, folder / "iter_10.pth", teacher=True)
    content = torch.load(path, weights_only=True)
    content["meta"].update(iter=10, seed=3)
    torch.save(content, path)
    (folder / "rounds.json").write_text(
        json.dumps({"3": dict(iteration=10, metrics=MEASURED), "2": dict(iteration=8, metrics={})})
    )
    return path


def export(checkpoint, out, scenes_root, monkeypatch, *options, config=CONFIG):
    monkeypatch.setenv("MMDRSL_SCENES", str(scenes_root))
    monkeypatch.setattr(
        sys, "argv", [TOOL, str(config), str(checkpoint), "--out", str(out), *options]
    )
    runpy.run_path(TOOL, run_name="__main__")
    return (out / "README.md").read_text()


def test_safetensors_and_card(checkpoint, scenes_root, tmp_path, monkeypatch):
    card = export(checkpoint, tmp_path, scenes_root, monkeypatch, "--safetensors")
    weights = torch.load(tmp_path / "segmentor.pth", weights_only=True)["state_dict"]
    with safetensors.safe_open(tmp_path / "segmentor.safetensors", framework="pt") as file:
        assert set(file.keys()) == set(weights)
        assert all(torch.equal(file.get_tensor(name), weights[name]) for name in weights)
        assert json.loads(file.metadata()["classes"])[0] == "road"
    for name in ("config.py", "segmentor.pth", "segmentor.safetensors"):
        assert sha256((tmp_path / name).read_bytes()).hexdigest() in card
    assert sha256(checkpoint.read_bytes()).hexdigest() in card
    assert "| 0 | road | 128, 64, 128 | 91.3 |" in card
    assert "| 16 | train | 0, 80, 100 | - |" in card
    assert "| mIoU | 41.25 |" in card
    assert "averaged copy (teacher)" in card
    assert f"| source | GTA5Dataset | {scenes_root}/game |" in card
    assert f"| target | UnlabelledDataset | {scenes_root}/camera |" in card
    assert "| training step | 10 |" in card
    assert "| seed | 3 |" in card


def test_figures_of_the_teacher_are_none_of_the_student(
    checkpoint, scenes_root, tmp_path, monkeypatch
):
    card = export(checkpoint, tmp_path, scenes_root, monkeypatch, "--network", "student")
    assert "no evaluation of this network at this step" in card
    assert "| 0 | road | 128, 64, 128 | - |" in card
    assert not (tmp_path / "segmentor.safetensors").exists()


def test_an_export_replaces_all_of_an_earlier_one(checkpoint, scenes_root, tmp_path, monkeypatch):
    (tmp_path / "config.py").write_text(f'"""A segmentor, {WRITTEN_BY}."""\n')
    for name in ("README.md", "segmentor.onnx", "segmentor.safetensors", "notes.txt"):
        (tmp_path / name).write_text("earlier")
    card = export(checkpoint, tmp_path, scenes_root, monkeypatch)
    assert card != "earlier"
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"README.md", "config.py", "notes.txt", "segmentor.pth"}


@pytest.mark.parametrize("name", ["config.py", "README.md"])
def test_files_of_other_origin_stay(checkpoint, scenes_root, tmp_path, monkeypatch, capsys, name):
    (tmp_path / name).write_text("# mine")
    with pytest.raises(SystemExit):
        export(checkpoint, tmp_path, scenes_root, monkeypatch)
    assert f"holds {name} of another origin" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "# mine"


def test_the_given_config_stays(checkpoint, scenes_root, tmp_path, monkeypatch, capsys):
    config = tmp_path / "config.py"
    text = f'"""Once {WRITTEN_BY}."""\n_base_ = {CONFIG!r}\n'
    config.write_text(text)
    with pytest.raises(SystemExit):
        export(checkpoint, tmp_path, scenes_root, monkeypatch, config=config)
    assert "holds config.py of another origin" in capsys.readouterr().err
    assert config.read_text() == text


def test_a_run_without_data_loaders(checkpoint, scenes_root, tmp_path, monkeypatch):
    cfg = read_config(CONFIG)
    cfg.test_pipeline = cfg.test_dataloader.dataset.pipeline
    cfg.train_dataloader = cfg.test_dataloader = cfg.test_evaluator = None
    cfg.dump(tmp_path / "run.py")
    out = tmp_path / "plain"
    card = export(checkpoint, out, scenes_root, monkeypatch, config=tmp_path / "run.py")
    assert "## Data\n\n| role | dataset | folder |\n| --- | --- | --- |\n\nLicenses" in card


@pytest.mark.slow
def test_onnx_beside_the_pair(checkpoint, scenes_root, tmp_path, monkeypatch, capsys):
    card = export(checkpoint, tmp_path, scenes_root, monkeypatch, "--onnx")
    printed = capsys.readouterr().out
    assert "segmentor.onnx: ONNX, any batch, any size" in printed
    assert "agree on" in card
    page = (ROOT / "docs" / "export.md").read_text()
    (example,) = re.findall(r"```python\n(import cv2\n.*?)```", page, re.DOTALL)
    image = next((scenes_root / "camera/leftImg8bit/val").rglob("*.png"))
    found: dict = {}
    for old, new in {"plain/": f"{tmp_path}/", "image.png": str(image)}.items():
        example = example.replace(old, new)
    exec(example, found)
    model = init_model(str(tmp_path / "config.py"), str(tmp_path / "segmentor.pth"), "cpu")
    expected = inference_model(model, str(image)).pred_sem_seg.data.numpy()
    assert (found["labels"] == expected).mean() >= 0.999
