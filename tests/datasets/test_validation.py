import re

import cv2
import numpy as np
import pytest

from mmdrsl.datasets import validation


def write_image(path, width=6, height=4):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.zeros((height, width), np.uint8))
    return str(path)


def test_find_images_is_sorted_recursive_and_skips_hidden_files(tmp_path):
    for name in ("b/2.png", "a/3.png", "1.png", "._1.png", "4.jpg"):
        write_image(tmp_path / name)
    found = validation.find_images(str(tmp_path), [".png"])
    assert found == ["1.png", "a/3.png", "b/2.png"]


def test_no_image_says_what_is_there(tmp_path):
    with pytest.raises(ValueError, match="found no file at all") as caught:
        validation.find_images(str(tmp_path), [".png"])
    assert str(tmp_path) in str(caught.value)
    write_image(tmp_path / "a.jpg")
    write_image(tmp_path / "b.jpg")
    with pytest.raises(ValueError, match=r"\['\.png'\], found \{'\.jpg': 2\}.*img_suffix"):
        validation.find_images(str(tmp_path), [".png"])


def test_list_file_errors(tmp_path):
    write_image(tmp_path / "a.png")
    list_file = tmp_path / "list.txt"
    with pytest.raises(FileNotFoundError, match=r"no list file .*list\.txt"):
        validation.find_images(str(tmp_path), [".png"], str(list_file))
    list_file.write_text("\n")
    with pytest.raises(ValueError, match=r"list\.txt names no image"):
        validation.find_images(str(tmp_path), [".png"], str(list_file))
    list_file.write_text("a\n" + "\n".join(f"x{index}" for index in range(6)))
    with pytest.raises(FileNotFoundError, match=r"6 of 7 images .*x0, .*x4, \.\.\.;"):
        validation.find_images(str(tmp_path), [".png"], str(list_file))


def test_header_size_reads_no_pixels(tmp_path):
    path = tmp_path / "a.png"
    write_image(path, width=640, height=320)
    path.write_bytes(path.read_bytes()[:60])
    assert validation.header_size(str(path)) == (640, 320)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=re.escape(f"{path} (0 bytes)")):
        validation.header_size(str(path))


def test_every_size_is_compared(tmp_path):
    images = [write_image(tmp_path / f"images/{i}.png") for i in range(20)]
    labels = [write_image(tmp_path / f"labels/{i}.png") for i in range(20)]
    validation.check_sizes(images, labels)
    for index in range(13, 20):
        write_image(tmp_path / f"labels/{index}.png", width=4, height=6)
    with pytest.raises(ValueError, match="7 of 20 labels") as caught:
        validation.check_sizes(images, labels)
    assert f"{labels[13]} is 4x6, its image 6x4" in str(caught.value)
    assert labels[18] not in str(caught.value)


def test_label_sample_is_seeded_and_bounded(tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(validation, "read_train_ids", lambda path, *_: read.append(path))
    labels = [f"{index}.png" for index in range(50)]
    for _ in range(2):
        validation.check_label_ids(labels, np.zeros(257, np.int16), None, num_samples=8)
    assert len(set(read[:8])) == 8
    assert read[:8] == read[8:]
    read.clear()
    validation.check_label_ids(labels[:3], np.zeros(257, np.int16), None, num_samples=8)
    assert read == labels[:3]
