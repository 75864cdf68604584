"""How the tools end: options of nothing, a folder that another process writes, Ctrl-C, and a link as --out."""

import pytest
from run_tools import DRSL_CONFIG, run_tool, train_command

from mmdrsl.folder_lock import written_alone
from mmdrsl.pseudo_labels.artifact import PseudoLabelArtifact

CYCADA = "configs/translation/cycada_scenes2scenes.py"
LABEL = "tools/generate_pseudo_labels.py"
EXPORT = "tools/model_converters/export_segmentor.py"
# Each with files that are not there: an option is judged before any is read.
TOOLS = {
    "train": ["tools/train.py", DRSL_CONFIG, "--work-dir", "OUT"],
    "test": ["tools/test.py", DRSL_CONFIG, "gone.pth", "--work-dir", "OUT"],
    "label": [LABEL, DRSL_CONFIG, "gone.pth", "--out", "OUT"],
    "export": [EXPORT, DRSL_CONFIG, "gone.pth", "--out", "OUT"],
    "predict": ["tools/predict.py", DRSL_CONFIG, "gone.pth", "README.md", "--out", "OUT"],
    "check": ["tools/analysis_tools/check_dataset.py", DRSL_CONFIG, "--out", "OUT"],
    "browse": ["tools/analysis_tools/browse_dataset.py", DRSL_CONFIG, "--out", "OUT"],
    "translate": ["tools/translate_dataset.py", DRSL_CONFIG, "lab", "--out", "OUT"],
    "cost": ["tools/analysis_tools/estimate_cost.py", DRSL_CONFIG],
    "demo": ["tools/demo.py", "--data", "DATA", "--work-dir", "OUT"],
}


def filled(command, scenes_root, out):
    return [{"OUT": str(out), "DATA": str(scenes_root)}.get(part, part) for part in command]


@pytest.mark.parametrize("tool", TOOLS)
def test_an_option_of_nothing_is_refused(tool, scenes_root, tmp_path):
    command = filled(TOOLS[tool], scenes_root, tmp_path / "out")
    if tool == "predict":
        command[3] = str(next((scenes_root / "camera/leftImg8bit").rglob("*.png")))
    command += ["--cfg-options", "optim_wrapper.optimizer.lrr=1"]
    status = 2 if tool in ("check", "browse") else 1
    output = run_tool(command, scenes_root, status=status)
    assert "did you mean optim_wrapper.optimizer.lr?" in output
    assert not list(tmp_path.glob("out/*.*")), tool


@pytest.mark.parametrize("tool", ["train", "label", "export", "predict", "translate"])
def test_a_folder_that_another_process_writes_is_refused(tool, scenes_root, tmp_path):
    command = filled(TOOLS[tool], scenes_root, tmp_path / "out")
    with written_alone(tmp_path / "out"):
        output = run_tool(command, scenes_root, status=1)
        assert f"Another process is writing {tmp_path / 'out'}" in output
        assert [path.name for path in (tmp_path / "out").iterdir()] == [".lock"]


INTERRUPT = """
import os, signal
from {module} import {kind}
proceed, calls = {kind}.{method}, []
# A shell that starts the tests in the background lets them ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

def interrupt(*args, **kwargs):
    calls.append(0)
    if len(calls) == {call}:
        os.kill(os.getpid(), signal.SIGINT)
    return proceed(*args, **kwargs)

{kind}.{method} = interrupt
"""


def test_ctrl_c_in_a_training_says_how_to_go_on(uninterrupted_run, scenes_root, tmp_path):
    place = dict(module="mmdrsl.engine.hooks", kind="StepSeedHook", method="before_train_iter")
    work_dir, options = tmp_path / "run", ["train_dataloader.num_workers=2"]
    output = run_tool(
        train_command(work_dir, *options),
        scenes_root,
        before=INTERRUPT.format(**place, call=4),
        status=130,
    )
    last = output.strip().splitlines()[-1]
    expected = (
        f"train: stopped; the same command with --resume continues from {work_dir}/iter_3.pth"
    )
    assert last == expected
    assert "Traceback" not in output
    early = run_tool(
        train_command(tmp_path / "early", *options),
        scenes_root,
        before=INTERRUPT.format(**place, call=1),
        status=130,
    )
    assert "holds no checkpoint yet: the same command starts again" in early


def test_ctrl_c_in_a_labeling_says_how_to_go_on(uninterrupted_run, scenes_root, tmp_path):
    """The folder is a link to an empty one."""
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to("real")
    place = dict(
        module="mmdrsl.pseudo_labels", kind="PseudoLabelArtifact", method="write_image", call=3
    )
    command = [
        LABEL,
        DRSL_CONFIG,
        str(uninterrupted_run / "iter_10.pth"),
        "--out",
        str(tmp_path / "out"),
    ]
    output = run_tool(command, scenes_root, before=INTERRUPT.format(**place), status=130)
    assert output.strip().splitlines()[-1] == "label: stopped; the same command continues"
    run_tool(command, scenes_root)
    assert (tmp_path / "out").is_symlink()
    artifact = PseudoLabelArtifact(tmp_path / "real")
    assert artifact.problems(artifact.read_manifest()) == []
    assert len(artifact.read_manifest().images) == 6
    names = {path.name for path in (tmp_path / "real").iterdir()}
    assert names == {"color", "confidence", "labels", "manifest.json"}
