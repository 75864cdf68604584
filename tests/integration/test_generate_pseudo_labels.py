import json
import signal
import subprocess
import sys

import pytest
from run_tools import DRSL_CONFIG, ROOT, run_tool, tool_environment

from mmdrsl.self_training import PseudoLabelArtefact

TOOL = "tools/generate_pseudo_labels.py"
OPTIONS = ["default_hooks.self_training.labeller.policy.lowest_threshold=0.05"]
KILL = """
import os, runpy, signal, sys
from mmdrsl.self_training import PseudoLabelArtefact
proceed, written = PseudoLabelArtefact.write_image, []

def kill(artefact, image_id, *arguments):
    if len(written) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    written.append(image_id)
    return proceed(artefact, image_id, *arguments)

PseudoLabelArtefact.write_image = kill
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name='__main__')
"""


def command(checkpoint, out, *flags):
    return [
        sys.executable, TOOL, DRSL_CONFIG, str(checkpoint), "--out", str(out), "--portion", "0.3",
        *flags, "--cfg-options", *OPTIONS,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def whole(uninterrupted_run, scenes_root, tmp_path_factory):
    out = tmp_path_factory.mktemp("labels") / "whole"
    output = run_tool(command(uninterrupted_run / "iter_20.pth", out, "--num-workers", "1"), scenes_root)  # fmt: skip
    assert "6 images" in output
    return out


def manifest(out):
    return json.loads((out / "manifest.json").read_text())


def test_killed_tool_picks_up_where_it_stopped(whole, uninterrupted_run, scenes_root, tmp_path):
    arguments = command(uninterrupted_run / "iter_20.pth", tmp_path / "out")
    killed = subprocess.run(
        [arguments[0], "-c", KILL, *arguments[1:]],
        cwd=ROOT, env=tool_environment(scenes_root), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-3000:]
    done = len(list((tmp_path / "out" / "labels").rglob("*.png")))
    assert 0 < done < 6
    run_tool(arguments, scenes_root)
    assert manifest(tmp_path / "out") == manifest(whole)
    artefact = PseudoLabelArtefact(tmp_path / "out")
    assert artefact.problems(artefact.read_manifest()) == []


@pytest.mark.slow
def test_two_ranks_write_the_same_artefact_as_one(whole, uninterrupted_run, scenes_root, tmp_path):
    arguments = command(
        uninterrupted_run / "iter_20.pth", tmp_path / "out", "--launcher", "pytorch"
    )
    launcher = ["-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port=29611"]
    run_tool([sys.executable, *launcher, *arguments[1:]], scenes_root)
    assert manifest(tmp_path / "out") == manifest(whole)
    for folder in ("labels", "color", "confidence"):
        for path in sorted((whole / folder).rglob("*.png")):
            other = tmp_path / "out" / folder / path.relative_to(whole / folder)
            assert other.read_bytes() == path.read_bytes()


@pytest.mark.slow
def test_complete_labels_are_checked_not_made_again(whole, uninterrupted_run, scenes_root):
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*")}
    run_tool(command(uninterrupted_run / "iter_20.pth", whole), scenes_root)
    assert before == {path: path.stat().st_mtime_ns for path in whole.rglob("*")}


@pytest.mark.slow
def test_labels_of_another_model_are_refused(whole, uninterrupted_run, scenes_root, tmp_path):
    arguments = command(uninterrupted_run / "iter_20.pth", whole)
    arguments[arguments.index("0.3")] = "0.4"
    done = subprocess.run(
        arguments, cwd=ROOT, env=tool_environment(scenes_root), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "labelled with other settings" in done.stderr
