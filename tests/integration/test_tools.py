import json
import re
import sys
from pathlib import Path

import mmseg
import pytest
import torch
from conftest import DRSL_CONFIG, TWENTY_STEPS, run_tool, train_command

MMSEG_TOOLS = Path(mmseg.__file__).parent / ".mim" / "tools"


def reported_miou(output):
    return float(re.findall(r"mIoU: ([0-9.]+)", output)[-1])


@pytest.fixture(scope="module")
def exported(uninterrupted_run, scenes_root, tmp_path_factory):
    out = tmp_path_factory.mktemp("exported")
    run_tool(
        [
            sys.executable,
            "tools/model_converters/export_segmentor.py",
            DRSL_CONFIG,
            str(uninterrupted_run / "iter_20.pth"),
            "--out",
            str(out),
        ],
        scenes_root,
    )
    return out


def test_stock_mmseg_evaluates_the_export_to_the_same_miou(
    exported, uninterrupted_run, scenes_root, tmp_path
):
    plain = torch.load(exported / "segmentor.pth", weights_only=True)
    assert not any(key.startswith(("segmentor.", "heads.")) for key in plain["state_dict"])
    output = run_tool(
        [
            sys.executable,
            str(MMSEG_TOOLS / "test.py"),
            str(exported / "config.py"),
            str(exported / "segmentor.pth"),
            "--work-dir",
            str(tmp_path),
        ],
        scenes_root,
    )
    rounds = json.loads((uninterrupted_run / "rounds.json").read_text())
    assert reported_miou(output) == pytest.approx(rounds["3"]["metrics"]["mIoU"], abs=0.01)
    assert "UDASegmentor" not in (exported / "config.py").read_text()


def test_our_test_tool_saves_predictions_and_pictures(uninterrupted_run, scenes_root, tmp_path):
    output = run_tool(
        [
            sys.executable,
            "tools/test.py",
            DRSL_CONFIG,
            str(uninterrupted_run / "iter_20.pth"),
            "--work-dir",
            str(tmp_path / "work"),
            "--out",
            str(tmp_path / "labels"),
            "--show-dir",
            str(tmp_path / "pictures"),
            "--tta",
        ],
        scenes_root,
    )
    assert reported_miou(output) >= 0
    assert len(list((tmp_path / "labels").glob("*.png"))) == 4
    assert any((tmp_path / "pictures").rglob("*.png"))


def test_plain_checkpoint_starts_an_adaptation(exported, scenes_root, tmp_path):
    work_dir = tmp_path / "run"
    output = run_tool(
        train_command(
            work_dir,
            f"load_from={exported / 'segmentor.pth'}",
            "optim_wrapper.optimizer.lr=0.0",
            "param_scheduler=[]",
        ),
        scenes_root,
    )
    assert "missing keys in source state_dict: segmentor." not in output
    plain = torch.load(exported / "segmentor.pth", weights_only=True)["state_dict"]
    trained = torch.load(work_dir / "iter_20.pth", weights_only=False)["state_dict"]
    # At learning rate zero every weight that was loaded is still there; only BN statistics moved.
    compared = [name for name in plain if name.endswith(("weight", "bias"))]
    assert len(compared) > 20
    assert all(torch.equal(plain[name], trained["segmentor." + name]) for name in compared)


def test_two_cpu_ranks_train_and_test(scenes_root, tmp_path):
    work_dir = tmp_path / "run"
    run_tool(
        [
            *("bash", "tools/dist_train.sh", DRSL_CONFIG, "2", "--work-dir", str(work_dir)),
            *("--cfg-options", *TWENTY_STEPS),
        ],
        scenes_root,
    )
    manifest = json.loads((work_dir / "pseudo_labels" / "round_3" / "manifest.json").read_text())
    assert len(manifest["images"]) == 6
    output = run_tool(
        ["bash", "tools/dist_test.sh", DRSL_CONFIG, str(work_dir / "iter_20.pth"), "2"],
        scenes_root,
    )
    rounds = json.loads((work_dir / "rounds.json").read_text())
    assert reported_miou(output) == pytest.approx(rounds["3"]["metrics"]["mIoU"], abs=0.05)
