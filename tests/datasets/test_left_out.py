"""Nothing in an image folder is left out in silence: files of other endings, folders that cannot be read."""

import logging
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmseg.datasets import BaseSegDataset

from mmdrsl.datasets.inspection.domain_report import inspect_config
from mmdrsl.datasets.inspection.page import render_page
from mmdrsl.datasets.labeled import LabelledImageDataset
from mmdrsl.datasets.left_out import left_out
from mmdrsl.datasets.transforms.loading import LoadImage
from mmdrsl.datasets.unlabeled import UnlabelledDataset
from mmdrsl.datasets.validation import find_images
from mmdrsl.inference import find_inputs


@pytest.fixture
def warned():
    """What the log warns of."""
    messages = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: messages.append(record.getMessage())
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    yield messages
    logger.removeHandler(handler)


def write_image(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), np.uint8)
    assert cv2.imwrite(str(path), pixels)


@pytest.mark.parametrize("ending", [".ppm", ".PGM", ".pnm", ".jfif", ".JPE", ".tif"])
def test_endings_that_can_be_read_are_taken(tmp_path, warned, ending):
    path = tmp_path / f"a{ending}"
    pixels = np.full((4, 6, 3), 90, np.uint8)
    encoder = ".jpg" if ending.lower() in (".jfif", ".jpe") else ending
    path.write_bytes(cv2.imencode(encoder, pixels if ending != ".PGM" else pixels[..., 0])[1])
    dataset = UnlabelledDataset(data_root=str(tmp_path), pipeline=[dict(type="LoadImage")])
    assert (dataset[0]["img"] == 90).all()
    assert [item.path for item in find_inputs([str(tmp_path)], out=tmp_path / "out")] == [path]
    assert warned == []


def phone(root):
    """Two images that are taken, others that are not."""
    for index, name in enumerate(("a.png", "day/b.jpg")):
        write_image(root / name, index)
    for name in ("c.HEIC", "day/d.heic", "e.tga", "notes.txt", ".f.heic"):
        (root / name).write_bytes(b"never opened")
    return root


def test_training_warns_of_images_that_it_does_not_take(tmp_path, warned):
    root = phone(tmp_path / "photos")
    UnlabelledDataset(data_root=str(root))
    assert len(warned) == 1
    assert f"3 files in {root}/ are not taken, since images end in .png, .jpg," in warned[0]
    assert ": .heic (2), .tga (1)." in warned[0]
    (root / "list.txt").write_text("a.png")
    UnlabelledDataset(data_root=str(root), ann_file="list.txt")
    assert len(warned) == 1
    UnlabelledDataset(data_root=str(root), img_suffix=".png")
    assert "since images end in .png: .heic (2), .jpg (1), .tga (1)." in warned[1]


def test_prediction_warns_of_images_that_it_does_not_take(tmp_path, warned):
    root = phone(tmp_path / "photos")
    for given in (root, root / "**/*"):
        assert len(find_inputs([str(given)], out=tmp_path / "out")) == 2
    assert len(warned) == 2
    assert all(": .heic (2), .tga (1)." in message for message in warned)


def test_the_doctor_counts_what_is_left_out(tmp_path):
    root = phone(tmp_path / "photos")
    target = dict(type="UnlabelledDataset", data_root=str(root))
    config = Config(dict(train_dataloader=dict(dataset=target)))
    reports = inspect_config(config, progress=False)
    assert ".heic (2), .tga (1), .txt (1)" in reports["source"].remarks[0]
    assert "4 files in" in render_page(reports, "photos")
    assert "4 files in" in reports["source"].summary()["remarks"][0]


def test_labels_beside_images_are_not_left_out(tmp_path, warned):
    for name in ("a.jpg", "sub/b.jpg"):
        write_image(tmp_path / name)
        label = (tmp_path / name).with_suffix(".png")
        cv2.imwrite(str(label), np.zeros((4, 6), np.uint8))
    prefix = dict(img_path="", seg_map_path="")
    dataset = LabelledImageDataset(data_root=str(tmp_path), data_prefix=prefix, img_suffix=".jpg")
    assert (len(dataset), left_out(dataset), warned) == (2, {}, [])
    write_image(tmp_path / "c.bmp")
    LabelledImageDataset(data_root=str(tmp_path), data_prefix=prefix, img_suffix=".jpg")
    assert ": .bmp (1)." in warned[0]
    stock = BaseSegDataset(
        data_root=str(tmp_path),
        data_prefix=prefix,
        metainfo=dict(classes=["a"], palette=[[0, 0, 0]]),
        lazy_init=True,
    )
    assert left_out(stock) == {".bmp": 1}


@contextmanager
def without_rights(folder):
    """A folder that cannot be read, for the administrator neither."""
    folder.chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)
        folder.chmod(0o755)


def test_folders_that_cannot_be_read():
    # Not in pytest's own folder, into which another user may not look.
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        root.chmod(0o755)
        write_image(root / "data/open/a.png")
        write_image(root / "data/closed/b.png")
        closed = root / "data/closed"
        with without_rights(closed):
            for find in (
                lambda: find_images(f"{root}/data", [".png"]),
                lambda: UnlabelledDataset(data_root=f"{root}/data"),
                lambda: find_inputs([f"{root}/data"], out=root / "out"),
                lambda: find_inputs([f"{root}/data/*/*.png"], out=root / "out"),
                lambda: find_inputs([f"{root}/data/**/*.png"], out=root / "out"),
            ):
                with pytest.raises(PermissionError, match=f"cannot read the folder {closed}"):
                    find()
            assert LoadImage().transform({"img_path": f"{root}/data/open/a.png"})["img"].any()
