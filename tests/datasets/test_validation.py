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
    hidden = ("._1.png", ".Trash-1000/files/5.png", "a/.ipynb_checkpoints/6.png")
    for name in ("b/2.png", "a/3.png", "1.png", "4.jpg", *hidden):
        write_image(tmp_path / name)
    found = validation.find_images(str(tmp_path), [".png"])
    assert found == ["1.png", "a/3.png", "b/2.png"]


def test_linked_folders_and_links_to_nowhere(tmp_path):
    write_image(tmp_path / "disk/1.png")
    images = tmp_path / "images"
    images.mkdir()
    (images / "drive").symlink_to(tmp_path / "disk")
    assert validation.find_images(str(images), [".png"]) == ["drive/1.png"]
    (images / "2.png").symlink_to(tmp_path / "lost/2.png")
    with pytest.raises(FileNotFoundError, match=r"1 images in .* do not exist: 2\.png; mount"):
        validation.find_images(str(images), [".png"])
    # Of another type, it is no image of the dataset.
    assert validation.find_images(str(images / "drive"), [".png"]) == ["1.png"]
    (images / "2.png").unlink()
    (images / "notes.txt").symlink_to(tmp_path / "lost/notes.txt")
    assert validation.find_images(str(images), [".png"]) == ["drive/1.png"]
    (tmp_path / "disk/again").symlink_to(images)
    with pytest.raises(ValueError, match="is a link to a folder that it is in"):
        validation.find_images(str(images), [".png"])


def test_list_stays_inside_its_folder(tmp_path):
    write_image(tmp_path / "images/a.png")
    write_image(tmp_path / "more/b.png")
    list_file, folder = tmp_path / "list.txt", str(tmp_path / "images")
    # A list of full paths, in a file of Windows' editor.
    list_file.write_text(f"\ufeff{tmp_path}/images/a.png\n", encoding="utf-8")
    assert validation.find_images(folder, [".png"], str(list_file)) == ["a.png"]
    (tmp_path / "link").symlink_to(folder)
    assert validation.find_images(str(tmp_path / "link"), [".png"], str(list_file)) == ["a.png"]
    for outside in (f"{tmp_path}/more/b.png", "../more/b.png", "../more/b"):
        list_file.write_text(f"a.png\n{outside}\n")
        with pytest.raises(ValueError, match=r"more/b.*, which is not below .*images"):
            validation.find_images(folder, [".png"], str(list_file))
    list_file.write_text("a.png\na\n")
    with pytest.raises(ValueError, match=r"1 images more than once: a\.png"):
        validation.find_images(folder, [".png"], str(list_file))
    list_file.write_bytes("stra\xdfe.png\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"list\.txt is not UTF-8"):
        validation.find_images(folder, [".png"], str(list_file))


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
