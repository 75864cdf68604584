from collections import Counter

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS

import mmdrsl  # noqa: F401 - registers the datasets
from mmdrsl.datasets.label_spaces import get_label_space
from mmdrsl.new_pair.choices import choose
from mmdrsl.new_pair.class_file import read_classes
from mmdrsl.new_pair.config_text import _base, config_text
from mmdrsl.new_pair.file_names import Naming
from mmdrsl.new_pair.look import Images, Labeled, Videos


@pytest.fixture
def written(tmp_path):
    """Write the config of a pair and read it."""

    def write(*, target=None, size=(640, 480), out="mine", gigabytes=None, model=None, **options):
        path = tmp_path / out / "config.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        classes = path.parent / "classes.yaml"
        classes.write_text("ids: {0: ground, 4: vehicle}")
        images = Images(tmp_path, ["0.png"], size)
        options = {
            "command": "mmdrsl new-pair",
            "validation": None,
            "target_labels": None,
            "lists": {},
            **options,
        }
        text = config_text(
            path=path,
            classes=read_classes(classes),
            choices=choose(size, gigabytes=gigabytes, model=model, method=None),
            source=Labeled(images, tmp_path, Naming(".png", "_seg.png"), 0, Counter({0: 1, 4: 1})),
            target=target or images,
            **options,
        )
        path.write_text(text, encoding="utf-8")
        return Config.fromfile(path)

    return write


def write_video(path):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 10, (64, 64))
    writer.write(np.zeros((64, 64, 3), np.uint8))
    writer.release()


def test_other_videos_of_the_folder_are_left_out(written, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("drive.mp4", "overlay.mp4"):
        write_video(tmp_path / name)
    (tmp_path / "videos.txt").write_text("drive.mp4\n")
    cfg = written(
        target=Videos(tmp_path, ["drive.mp4"], (640, 480)),
        lists={"target_dataset": tmp_path / "videos.txt"},
    )
    init_default_scope("mmseg")
    dataset = DATASETS.build({**cfg.train_dataloader.dataset.target, "pipeline": []})
    assert [info["sample_id"] for info in map(dataset.get_data_info, range(len(dataset)))] == [
        "drive.mp4/000000"
    ]


def test_a_folder_named_like_a_built_in_label_space(written):
    space = get_label_space(written(out="street10").label_space)
    assert (space.name, space.classes) == ("pair_street10", ("ground", "vehicle"))


def test_no_command_breaks_the_file(written):
    command = "mmdrsl new-pair --out 'C:\\Users\nraise SystemExit' '\"\"\"'"
    assert "ground" in written(command=command).label_space.classes


def test_bases_are_found_from_a_linked_folder(tmp_path, monkeypatch):
    (tmp_path / "checkout" / "configs" / "_base_" / "models").mkdir(parents=True)
    (tmp_path / "far" / "away").mkdir(parents=True)
    (tmp_path / "checkout" / "mine").symlink_to(tmp_path / "far" / "away")
    monkeypatch.setattr(
        "mmdrsl.new_pair.config_text.configs_folder", lambda: tmp_path / "checkout" / "configs"
    )
    base = _base(tmp_path / "checkout" / "mine" / "config.py", "models", "small")
    assert base == "../configs/_base_/models/small.py"


def test_views_of_large_images_follow_the_size_of_the_tests(written):
    cfg = written(size=(1280, 1024))
    sizes = [view.scale for view in cfg.tta_pipeline[1].transforms[0]]
    assert cfg.test_pipeline[1].scale == (320, 256)
    assert sizes == [(240, 192), (320, 256), (400, 320)]
    assert cfg.tta_pipeline[1].transforms[1:] == cfg.multi_scale_tta[1].transforms[1:]


@pytest.mark.parametrize(
    ("model", "optimizer"), [("segformer_b0", "AdamW"), ("deeplabv3plus_r50", "SGDWithAdam")]
)
def test_the_optimizer_on_a_gpu(written, model, optimizer):
    cfg = written(gigabytes=24.0, model=model)
    assert cfg.optim_wrapper.optimizer.type == optimizer
    assert ("momentum" in cfg.optim_wrapper.optimizer) == (optimizer == "SGDWithAdam")
