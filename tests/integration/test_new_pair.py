"""From folders to a training: the tool on made files, and what it says where something is wrong."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, MODELS
from run_tools import run_tool

IDS = {0: (90, 90, 90), 4: (30, 30, 200), 9: (200, 160, 120)}
SIZE = (96, 128)


def picture(rng):
    label = np.full(SIZE, 9, np.uint8)
    label[40:] = 0
    y, x = rng.integers(40, 70), rng.integers(0, 100)
    label[y : y + 20, x : x + 24] = 4
    image = np.zeros((*SIZE, 3))
    for value, color in IDS.items():
        image[label == value] = color
    return (image + rng.normal(0, 10, image.shape)).clip(0, 255).astype(np.uint8), label


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    for folder, count in (("renders", 6), ("streets", 4), ("val", 3)):
        (tmp_path / folder / "rgb").mkdir(parents=True)
        (tmp_path / folder / "seg").mkdir()
        for index in range(count):
            image, label = picture(rng)
            cv2.imwrite(str(tmp_path / folder / "rgb" / f"{index}.jpg"), image)
            cv2.imwrite(str(tmp_path / folder / "seg" / f"{index}.png"), label)
    (tmp_path / "classes.yaml").write_text("ids: {0: ground, 4: vehicle, 9: sky}")
    writer = cv2.VideoWriter(
        str(tmp_path / "drive.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 10, SIZE[::-1]
    )
    for _ in range(25):
        writer.write(picture(rng)[0])
    writer.release()
    return tmp_path


def new_pair(data, *options, target="streets/rgb", out="mine", classes=True, status=0):
    given = ["--classes", data / "classes.yaml"] if classes else []
    return run_tool(
        ["tools/new_pair.py", "--source", data / "renders/rgb", data / "renders/seg", "--target",
         data / target, "--out", data / out, *given, *options],
        data, status=status, folder=data,
    )  # fmt: skip


def test_images_without_labels_are_left_out(data):
    (data / "renders/seg/0.png").unlink()
    (data / "val/seg/2.png").unlink()
    output = new_pair(data, "--val", data / "val/rgb", data / "val/seg")
    assert output.count("1 images have none") == 2
    cfg = Config.fromfile(data / "mine/config.py")
    init_default_scope("mmseg")
    source, validation = (
        DATASETS.build({**part, "pipeline": []})
        for part in (cfg.train_dataloader.dataset.source, cfg.val_dataloader.dataset)
    )
    assert [info["sample_id"] for info in source] == list("12345")
    assert len(validation) == 2


def test_without_classes_a_template_says_what_is_there(data):
    output = new_pair(data, classes=False, status=3)
    text = (data / "mine" / "classes.yaml").read_text()
    assert [line.split(":")[0].strip() for line in text.splitlines()[3:]] == ["0", "9", "4"]
    assert "6 .jpg; 128 x 96 pixels" in output
    assert "3 ids: 0 (" in output


def test_the_config_of_all_parts_builds(data):
    output = new_pair(
        data, "--val", data / "val/rgb", data / "val/seg", "--target-labels", data / "val/rgb",
        data / "val/seg", "--method", "drsl_mic", target="drive.mp4", status=1,
    )  # fmt: skip
    # The same images for learning and for the evaluation: the examination says so.
    assert "copy in training" in output
    init_default_scope("mmseg")
    cfg = Config.fromfile(data / "mine" / "config.py")
    assert cfg.train_dataloader.dataset.target.type == "VideoDataset"
    videos = cfg.train_dataloader.dataset.target.ann_file
    assert Path(videos).read_text() == "drive.mp4\n"
    assert cfg.train_dataloader.dataset.source.type == "LabeledSets"
    assert cfg.default_hooks.self_training.online
    assert cfg.default_hooks.teacher.type == "MeanTeacherHook"
    dataset = DATASETS.build(cfg.train_dataloader.dataset.source)
    label = dataset[0]["data_samples"].gt_sem_seg.data
    assert set(label.unique().tolist()) <= {0, 1, 2, 255}
    assert MODELS.build(cfg.model).num_classes == 3
    assert tuple(dataset.metainfo["classes"]) == ("ground", "vehicle", "sky")


def test_the_training_starts_as_it_is(data):
    output = new_pair(data, "--method", "self_training")
    assert "No problem found." in output
    config = data / "mine" / "config.py"
    run_tool(
        ["tools/train.py", config, "--work-dir", data / "run", "--cfg-options",
         "train_cfg.max_iters=5", "default_hooks.self_training.warmup_iterations=2",
         *(f"default_hooks.self_training.rounds.{index}.iterations=1" for index in range(3)),
         "train_dataloader.num_workers=0"],
        data,
    )  # fmt: skip
    assert (data / "run" / "iter_5.pth").is_file()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: (data / "classes.yaml").write_text("ids: {0: ground, 4: car}"), "does not name 9"),
        (lambda data: (data / "mine").mkdir() or (data / "mine/config.py").touch(), "exists"),
        (lambda data: [path.rename(path.with_name(f"q{i}x.png")) for i, path in
                       enumerate((data / "renders/seg").iterdir())], "is named after an image"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_a_line(data, change, message):
    change(data)
    output = new_pair(data, status=2)
    assert message in output
    assert "Traceback" not in output
