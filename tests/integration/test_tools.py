import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import cv2
import mmengine
import mmseg
import numpy as np
import pytest
import torch
from mmengine.config import utils
from mmseg.apis import init_model
from run_tools import (
    DRSL_CONFIG,
    ROOT,
    run_program,
    run_ranks,
    run_tool,
    tool_environment,
    train_command,
    train_options,
    with_test_of,
)

from mmdrsl.engine.launch import read_config

MMSEG_TOOLS = Path(mmseg.__file__).parent / ".mim" / "tools"
# Each holds the config, which MMEngine takes long to write.
ONE_CHECKPOINT = "default_hooks.checkpoint.interval=10"


def reported_miou(output):
    return float(re.findall(r"mIoU: ([0-9.]+)", output)[-1])


@pytest.fixture(scope="module")
def exported(uninterrupted_run, scenes_root, tmp_path_factory):
    out = tmp_path_factory.mktemp("exported")
    run_tool(
        [
            "tools/model_converters/export_segmentor.py",
            DRSL_CONFIG,
            str(uninterrupted_run / "iter_10.pth"),
            "--out",
            str(out),
        ],
        scenes_root,
    )
    return out


def training_config(scenes_root):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMDRSL_SCENES", str(scenes_root))
        return read_config(ROOT / DRSL_CONFIG)


def test_stock_mmseg_evaluates_the_export_to_the_same_miou(
    exported, uninterrupted_run, scenes_root, tmp_path
):
    plain = torch.load(exported / "segmentor.pth", weights_only=True)
    assert not any(key.startswith(("segmentor.", "heads.")) for key in plain["state_dict"])
    # Of raw ids, which the exported config leaves out.
    config = with_test_of(exported / "config.py", training_config(scenes_root))
    output = run_program(
        [
            sys.executable,
            str(MMSEG_TOOLS / "test.py"),
            str(config),
            str(exported / "segmentor.pth"),
            "--work-dir",
            str(tmp_path),
        ],
        scenes_root,
    )
    rounds = json.loads((uninterrupted_run / "rounds.json").read_text())
    assert reported_miou(output) == pytest.approx(rounds["3"]["metrics"]["mIoU"], abs=0.01)
    assert "UDASegmentor" not in (exported / "config.py").read_text()


def views_of(image, model):
    """Probabilities from every view of the test-time augmentation, at the image's size."""
    height, width = image.shape[:2]
    for ratio in (0.75, 1.0, 1.25):
        size = (int(width * ratio + 0.5), int(height * ratio + 0.5))
        resized = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
        for flipped in (False, True):
            view = np.ascontiguousarray(resized[:, ::-1] if flipped else resized)
            data = dict(inputs=[torch.from_numpy(view).permute(2, 0, 1)], data_samples=None)
            with torch.no_grad():
                logits = model(model.data_preprocessor(data)["inputs"])
            # MMSegmentation enlarges to the size of the view first.
            for shape in (size[::-1], (height, width)):
                logits = torch.nn.functional.interpolate(logits, shape, mode="bilinear")
            logits = logits.flip(-1) if flipped else logits
            yield logits[0].softmax(dim=0)


def test_our_test_tool_saves_predictions_and_pictures(
    exported, uninterrupted_run, scenes_root, tmp_path
):
    output = run_tool(
        [
            "tools/test.py",
            DRSL_CONFIG,
            str(uninterrupted_run / "iter_10.pth"),
            "--work-dir",
            str(tmp_path / "work"),
            "--out",
            str(tmp_path / "labels"),
            "--show-dir",
            str(tmp_path / "pictures"),
            "--tta",
            # As the config that a resumed run leaves; the training data may be gone.
            "--cfg-options",
            "resume=True",
            f"train_dataloader.dataset.source.data_root={tmp_path / 'gone'}",
        ],
        scenes_root,
    )
    assert reported_miou(output) >= 0
    assert any((tmp_path / "pictures").rglob("*.png"))
    labels = sorted((tmp_path / "labels").glob("*.png"))
    assert len(labels) == 4
    model = init_model(str(exported / "config.py"), str(exported / "segmentor.pth"), "cpu")
    for path in labels:
        (image,) = (scenes_root / "camera").rglob(path.name.replace("_gtFine_labelTrainIds", "*"))
        views = list(views_of(cv2.imread(str(image)), model))
        found = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert (torch.stack(views).mean(dim=0).argmax(dim=0).numpy() == found).mean() > 0.999
        assert (views[2].argmax(dim=0).numpy() == found).mean() < 0.999


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
    trained = torch.load(work_dir / "iter_10.pth", weights_only=False)["state_dict"]
    # At learning rate zero every weight that was loaded is still there; only BN statistics moved.
    compared = [name for name in plain if name.endswith(("weight", "bias"))]
    assert len(compared) > 20
    assert all(torch.equal(plain[name], trained["segmentor." + name]) for name in compared)


def test_two_cpu_ranks_train(scenes_root, tmp_path):
    run_ranks(train_command(tmp_path, ONE_CHECKPOINT), scenes_root)
    labels = tmp_path / "pseudo_labels" / "round_3" / "manifest.json"
    assert len(json.loads(labels.read_text())["images"]) == 6


@pytest.mark.slow
def test_scripts_train_and_test_with_two_ranks(scenes_root, tmp_path):
    options = ["--work-dir", tmp_path, "--cfg-options", *train_options(), ONE_CHECKPOINT]
    run_program(["bash", "tools/dist_train.sh", DRSL_CONFIG, "2", *options], scenes_root)
    output = run_program(
        ["bash", "tools/dist_test.sh", DRSL_CONFIG, tmp_path / "iter_10.pth", "2"], scenes_root
    )
    rounds = json.loads((tmp_path / "rounds.json").read_text())
    assert reported_miou(output) == pytest.approx(rounds["3"]["metrics"]["mIoU"], abs=0.05)


def test_stock_mmseg_tool_trains_our_config(scenes_root, tmp_path):
    command = train_command(tmp_path / "run", ONE_CHECKPOINT)
    command[0] = MMSEG_TOOLS / "train.py"
    run_tool(command, scenes_root)
    assert (tmp_path / "run" / "iter_10.pth").is_file()


@pytest.fixture
def inheriting_config(tmp_path):
    """A config that inherits one of MMSegmentation's by its package name."""
    path = tmp_path / "inherits.py"
    path.write_text("_base_ = ['mmseg::_base_/models/fcn_r50-d8.py']\n")
    return path


def test_a_patched_mmengine_inherits_configs_of_mmseg(inheriting_config, scenes_root, tmp_path):
    shutil.copytree(Path(mmengine.__file__).parent, tmp_path / "mmengine")
    patch = (ROOT / "docs" / "upstream" / "mmengine.patch").read_text()
    subprocess.run(["git", "apply", "-p1", "-"], input=patch, text=True, cwd=tmp_path, check=True)
    patched = load_as_a_stock_tool(inheriting_config, scenes_root, tmp_path)
    assert "EncoderDecoder" in patched.stdout, patched.stderr[-2000:]


def test_to_import_mmdrsl_is_enough_to_inherit_configs_of_mmseg(inheriting_config, scenes_root):
    found = load_as_a_stock_tool(inheriting_config, scenes_root, ROOT, before="import mmdrsl; ")
    assert "EncoderDecoder" in found.stdout, found.stderr[-2000:]


def test_our_tools_inherit_configs_of_mmseg(inheriting_config, monkeypatch):
    monkeypatch.setitem(utils.MODULE2PACKAGE, "mmseg", "mmsegmentation")
    assert read_config(inheriting_config).model.type == "EncoderDecoder"


def load_as_a_stock_tool(config, scenes_root, path, before=""):
    program = (
        f"{before}from mmengine.config import Config; "
        f"print(Config.fromfile({str(config)!r}).model.type)"
    )
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **tool_environment(scenes_root), "PYTHONPATH": str(path)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_documented_mend_for_stock_tools_works(inheriting_config, scenes_root, tmp_path):
    pages = "".join(page.read_text() for page in sorted((ROOT / "docs").glob("*.md")))
    (mend,) = re.findall(
        r"```python\n(\s*from mmengine\.config import utils\n.*?)```", pages, re.DOTALL
    )
    (tmp_path / "sitecustomize.py").write_text(textwrap.dedent(mend))
    without = load_as_a_stock_tool(inheriting_config, scenes_root, ROOT)
    assert without.returncode != 0, "the stock loader works by itself now: drop the mend"
    mended = load_as_a_stock_tool(inheriting_config, scenes_root, tmp_path)
    assert "EncoderDecoder" in mended.stdout, mended.stderr[-2000:]
