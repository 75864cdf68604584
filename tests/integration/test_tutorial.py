"""The tutorial, block by block, with a training of five steps in place of its own."""

import os
import re
import shlex
import sys

import cv2
from run_tools import ROOT, run_program, run_tool

import mmdrsl_cli

PAGE = ROOT / "docs" / "tutorial.md"
SHORT = [
    "--cfg-options",
    "train_cfg.max_iters=5",
    "default_hooks.self_training.warmup_iterations=2",
    *(f"default_hooks.self_training.rounds.{index}.iterations=1" for index in range(3)),
    "train_dataloader.num_workers=0",
]


def test_the_tutorial_ends_with_an_overlay_video(scenes_root, tmp_path):
    blocks = re.findall(r"^```(bash|python|yaml)\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    commands = []
    for kind, text in blocks:
        if kind != "bash":
            name = text.splitlines()[0].removeprefix("# ")
            (tmp_path / name).write_text(text)
            if kind == "python":
                run_program(["env", "-C", tmp_path, sys.executable, name], scenes_root)
            continue
        for line in text.splitlines():
            program, command, *arguments = shlex.split(line)
            assert program == "mmdrsl"
            tool = f"tools/{mmdrsl_cli.TOOLS[command][0]}"
            commands.append(command)
            if command == "scenes":
                # The tiny set of the tests.
                os.symlink(scenes_root, tmp_path / "scenes")
                continue
            template = command == "new-pair" and "--classes" not in arguments
            short = SHORT if command == "train" else []
            arguments = [a.replace("iter_1080", "iter_5") for a in arguments]
            run_tool(
                [tool, *arguments, *short],
                scenes_root,
                folder=tmp_path,
                status=3 if template else 0,
            )
    assert commands == ["scenes", "new-pair", "new-pair", "train", "predict"]
    assert (tmp_path / "mine" / "classes.yaml").is_file()
    assert (tmp_path / "run" / "report.html").is_file()
    (video,) = (tmp_path / "pictures" / "overlay").rglob("*.mp4")
    capture = cv2.VideoCapture(str(video))
    frames = 0
    while capture.read()[0]:
        frames += 1
    assert frames == len(list((scenes_root / "camera").rglob("*leftImg8bit.png")))
