"""The state of mode learning in a whole run: memory, monitors, ablation switches, resuming."""

import json
import shutil

import pytest
import torch
from run_tools import run_tool, train_command

CONFIG = "configs/drsl/ablations/deeplabv3plus_scenes2scenes_{}.py"
OPTIONS = (
    "default_hooks.checkpoint.max_keep_ckpts=-1",
    "default_hooks.mode_memory.interval=3",
    "default_hooks.modes.refresh_interval=5",
    "custom_hooks.0.interval=2",
)


def state(folder):
    return torch.load(folder / "iter_20.pth", weights_only=False)["state_dict"]


@pytest.fixture(scope="module")
def whole(scenes_root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("memory") / "whole"
    run_tool(train_command(folder, *OPTIONS, config=CONFIG.format("memory")), scenes_root)
    return folder


@pytest.mark.slow
def test_memory_resumes_bit_for_bit(whole, scenes_root, tmp_path):
    folder = tmp_path / "resumed"
    shutil.copytree(whole, folder)
    # As if the run had been killed after step 10, between two writes of the memory.
    for path in folder.glob("iter_*.pth"):
        if int(path.stem.split("_")[1]) > 10:
            path.unlink()
    for number in (2, 3):
        shutil.rmtree(folder / "pseudo_labels" / f"round_{number}")
    (folder / "last_checkpoint").write_text(str(folder / "iter_10.pth"))
    command = train_command(folder, *OPTIONS, config=CONFIG.format("memory"), flags=["--resume"])
    run_tool(command, scenes_root)
    expected, found = state(whole), state(folder)
    assert (expected["heads.mmdl.memory_written"] > 0).any()
    assert expected.keys() == found.keys()
    assert all(torch.equal(value, found[name]) for name, value in expected.items())


@pytest.mark.slow
def test_monitors_are_logged(whole):
    (path,) = whole.glob("*/vis_data/scalars.json")
    names = {name for line in path.read_text().splitlines() for name in json.loads(line)}
    found = {name.removeprefix("modes/") for name in names if name.startswith("modes/")}
    assert {
        "usage_entropy",
        "within_variance_source",
        "within_variance_target",
        "centroid_gap",
        "agreement_source",
        "agreement_target",
        "kept_share",
    } <= found
    assert any(name.startswith("kept_share.") for name in found)
    assert any(name.startswith("centroid_gap.") for name in found)
    assert not any("loss" in name for name in found)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["weighted", "pure_labels", "one_mode", "mmdl_source", "softmin"])
def test_ablation_runs(case, scenes_root, tmp_path):
    run_tool(train_command(tmp_path / "run", config=CONFIG.format(case)), scenes_root)
    assert all(value.isfinite().all() for value in state(tmp_path / "run").values())
