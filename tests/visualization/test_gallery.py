import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS

from mmdrsl.visualization.gallery import FinishedRun, collect_report
from mmdrsl.visualization.report import render_report

CONFIGS = Path(__file__).parents[2] / "configs"
TITLES = {"source_only": "Source only", "stored": "Stored", "drsl": "DRSL"}


def make_run(method, folder):
    """A run whose weights are those of initialization."""
    cfg = Config.fromfile(CONFIGS / method / "deeplabv3plus_scenes2scenes.py")
    checkpoint = folder / f"{method}.pth"
    torch.save({"state_dict": MODELS.build(cfg.model).state_dict()}, checkpoint)
    return FinishedRun(cfg=cfg, folder=folder / method, checkpoint=checkpoint)


def write_rounds(run, scenes):
    run.folder.mkdir()
    rounds = {
        "1": {"iteration": 20, "metrics": {"mIoU": 35.0}, "labels": {"coverage": 0.25}},
        "2": {"iteration": 30, "metrics": {"mIoU": 36.0}, "labels": {"coverage": 0.5}},
    }
    (run.folder / "rounds.json").write_text(json.dumps(rounds))
    train = scenes / "camera/leftImg8bit/train"
    for number in rounds:
        for kind in ("labels", "confidence"):
            for image in train.rglob("*.png"):
                path = (
                    run.folder / f"pseudo_labels/round_{number}" / kind / image.relative_to(train)
                )
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), np.full((64, 128), int(number), np.uint8))


def test_report_of_runs_and_of_stored_numbers(scenes_root, monkeypatch, tmp_path):
    monkeypatch.setenv("MMDRSL_SCENES", str(scenes_root))
    torch.manual_seed(0)
    runs = {method: make_run(method, tmp_path) for method in ("drsl", "source_only")}
    write_rounds(runs["drsl"], scenes_root)
    numbers = {"mIoU": 30.0, "aAcc": 60.0, "IoU": {"road": 70.0}}
    summary = {"seed": 0, "minutes": 1.0, **dict.fromkeys(TITLES, numbers)}
    report = collect_report(runs, summary, titles=TITLES, setting="Untrained.")
    assert len(report.validation) == 2
    for image in report.validation:
        assert list(image.predictions) == ["source_only", "drsl"]
        assert image.truth.shape == image.predictions["drsl"].shape == (64, 128)
    assert [series.method for series in report.pseudo_labels] == ["drsl"] * 3
    assert [int(labels[0, 0]) for labels in report.pseudo_labels[0].labels.values()] == [1, 2]
    assert report.miou == {"source_only": {}, "drsl": {1: 35.0, 2: 36.0}}
    assert report.coverage["drsl"] == {1: 25.0, 2: 50.0}
    assert report.num_modes == 3
    assert [list(pair.modes) for pair in report.mode_pairs] == [["game", "camera"]] * 2
    assert "Stored" in render_report(report)

    plain = {"source_only": runs["source_only"]}
    report = collect_report(plain, summary, titles=TITLES, setting="Untrained.")
    assert not report.mode_pairs
    assert not report.pseudo_labels
    assert "Over the rounds" not in render_report(report)


def test_run_without_a_title_is_refused(tmp_path):
    run = FinishedRun(cfg=Config(), folder=tmp_path, checkpoint=tmp_path / "last.pth")
    with pytest.raises(ValueError, match=r"found runs of \['drsl'\], titles of \[\]"):
        collect_report({"drsl": run}, {}, titles={}, setting="")
