"""Every mistake ends in an error that names what is wrong, before the first step."""

import shutil

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from run_tools import DRSL_CONFIG, ROOT


@pytest.fixture
def scenes(scenes_root, tmp_path, monkeypatch):
    """A copy of the scenes that a test may damage."""
    copy = tmp_path / "scenes"
    shutil.copytree(scenes_root, copy)
    monkeypatch.setenv("MMDRSL_SCENES", str(copy))
    return copy


def train(tmp_path, **options):
    cfg = Config.fromfile(str(ROOT / DRSL_CONFIG))
    cfg.work_dir = str(tmp_path / "run")
    cfg.experiment_name = tmp_path.name
    cfg.merge_from_dict(options)
    Runner.from_cfg(cfg).train()


def first(folder):
    return sorted(folder.rglob("*.png"))[0]


def test_missing_data_root(scenes, tmp_path):
    shutil.rmtree(scenes / "game")
    with pytest.raises(FileNotFoundError, match="game"):
        train(tmp_path)


def test_image_without_label(scenes, tmp_path):
    label = first(scenes / "game" / "labels")
    label.unlink()
    with pytest.raises(FileNotFoundError, match=label.name):
        train(tmp_path)


def test_label_id_outside_the_classes(scenes, tmp_path):
    for path in (scenes / "game" / "labels").glob("*.png"):
        cv2.imwrite(str(path), np.full((64, 128), 77, np.uint8))
    with pytest.raises(ValueError, match="77"):
        train(tmp_path)


def test_label_of_another_size(scenes, tmp_path):
    label = first(scenes / "game" / "labels")
    cv2.imwrite(str(label), np.zeros((32, 128), np.uint8))
    with pytest.raises(ValueError, match=label.name):
        train(tmp_path)


def test_target_folder_without_images(scenes, tmp_path):
    for path in (scenes / "camera" / "leftImg8bit" / "train").rglob("*.png"):
        path.unlink()
    with pytest.raises(ValueError, match=r"no image in .*train"):
        train(tmp_path)


@pytest.mark.parametrize("weight", [0, 1.5])
def test_impossible_statistics(scenes, tmp_path, weight):
    with pytest.raises(ValueError, match=rf"target_weight must be in \(0, 1\], found {weight}"):
        train(tmp_path, **{"default_hooks.adabn.target_weight": weight})


def test_backbone_file_that_is_missing_or_does_not_fit(scenes, tmp_path):
    file = tmp_path / "backbone.pth"
    init_cfg = {"model.segmentor.backbone.init_cfg": dict(type="Pretrained", checkpoint=str(file))}
    with pytest.raises(FileNotFoundError, match=r"backbone\.pth"):
        train(tmp_path, **init_cfg)
    torch.save({"state_dict": {"conv1.weight": torch.zeros(1)}}, file)
    with pytest.raises(ValueError, match=r"backbone\.pth"):
        train(tmp_path, **init_cfg)


def test_round_schedule_that_does_not_fill_the_run(scenes, tmp_path):
    with pytest.raises(ValueError, match=r"train_cfg\.max_iters is 7"):
        train(tmp_path, **{"train_cfg.max_iters": 7})


def test_loader_processes_that_outlive_a_round(scenes, tmp_path):
    with pytest.raises(ValueError, match="persistent_workers"):
        train(
            tmp_path,
            **{"train_dataloader.num_workers": 1, "train_dataloader.persistent_workers": True},
        )


def test_rounds_without_a_target(scenes, tmp_path):
    with pytest.raises(TypeError, match="no target"):
        train(tmp_path, **{"train_dataloader.dataset.target": None})
