import json
import os
import signal
import subprocess
import time

import pytest
import torch
from run_tools import ROOT, run_tool, tool_environment, train_command

from mmdrsl.self_training import PseudoLabelArtefact


def weights(work_dir):
    loaded = torch.load(work_dir / "iter_20.pth", map_location="cpu", weights_only=False)
    return loaded["state_dict"]


def label_hashes(work_dir):
    return [
        PseudoLabelArtefact(work_dir / "pseudo_labels" / f"round_{number}").read_manifest().images
        for number in (1, 2, 3)
    ]


def train_until(work_dir, scenes_root, reached, log):
    """Train in a process of its own and kill it with SIGKILL as soon as `reached()` is true."""
    with open(log, "w") as output:
        process = subprocess.Popen(
            train_command(work_dir),
            cwd=ROOT,
            env=tool_environment(scenes_root),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        deadline = time.time() + 200
        while not reached():
            assert process.poll() is None, f"ended before it was killed: {log.read_text()[-3000:]}"
            assert time.time() < deadline, "never got there"
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_run_passes_through_all_stages(uninterrupted_run):
    rounds = json.loads((uninterrupted_run / "rounds.json").read_text())
    assert sorted(rounds) == ["0", "1", "2", "3"]
    assert [rounds[key]["iteration"] for key in sorted(rounds)] == [8, 12, 16, 20]
    assert all("mIoU" in entry["metrics"] for entry in rounds.values())
    assert all(0 < rounds[key]["labels"]["coverage"] <= 1 for key in ("1", "2", "3"))
    last = json.loads((uninterrupted_run / "rounds.json").read_text())["3"]["metrics"]
    assert "IoU.road" in last


@pytest.mark.parametrize("stage", ["training", "labelling"])
def test_killed_and_resumed_equals_uninterrupted(stage, uninterrupted_run, scenes_root, tmp_path):
    work_dir = tmp_path / "killed"
    round_2 = work_dir / "pseudo_labels" / "round_2"
    if stage == "training":
        reached = (work_dir / "iter_14.pth").is_file
    else:
        # Some files of the round, but no manifest yet.
        def reached():
            return any(round_2.glob("labels/**/*.png")) and not (round_2 / "manifest.json").exists()

    train_until(work_dir, scenes_root, reached, tmp_path / "log.txt")
    assert not (work_dir / "iter_20.pth").exists()
    run_tool(train_command(work_dir, flags=["--resume"]), scenes_root)

    expected, found = weights(uninterrupted_run), weights(work_dir)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert label_hashes(uninterrupted_run) == label_hashes(work_dir)
    metrics = [
        json.loads((folder / "rounds.json").read_text())["3"]["metrics"]
        for folder in (uninterrupted_run, work_dir)
    ]
    assert metrics[0] == metrics[1]


def test_killed_while_writing_a_checkpoint_keeps_the_last_good_one(scenes_root, tmp_path):
    work_dir = tmp_path / "killed"

    def reached():
        return (work_dir / "iter_4.pth").is_file() and any(work_dir.glob(".iter_*.tmp"))

    train_until(work_dir, scenes_root, reached, tmp_path / "log.txt")
    last = (work_dir / "last_checkpoint").read_text()
    torch.load(last, map_location="cpu", weights_only=False)


def test_missing_labels_refuse_to_resume_inside_a_round(uninterrupted_run, scenes_root, tmp_path):
    from mmengine.fileio import copyfile

    (tmp_path / "run").mkdir()
    checkpoint = uninterrupted_run / "iter_20.pth"
    copyfile(checkpoint, tmp_path / "run" / "iter_20.pth")
    (tmp_path / "run" / "last_checkpoint").write_text(str(tmp_path / "run" / "iter_20.pth"))
    command = train_command(
        tmp_path / "run",
        "train_cfg.max_iters=24",
        "default_hooks.self_training.rounds.2.iterations=8",
        flags=["--resume"],
    )
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=tool_environment(scenes_root),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "pseudo labels are damaged" in done.stderr
    assert "round_3" in done.stderr
