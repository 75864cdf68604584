import cv2
import numpy as np
import pytest
from PIL import Image

from mmdrsl.new_pair.look import look_at_labeled, look_at_target, values_of

RNG = np.random.default_rng(0)
LABEL = np.arange(24, dtype=np.uint8).reshape(4, 6) // 12


def photo(path):
    path.parent.mkdir(exist_ok=True)
    assert cv2.imwrite(str(path), RNG.integers(0, 256, (40, 60, 3), np.uint8))


def label(path, pixels=LABEL):
    path.parent.mkdir(exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


@pytest.mark.parametrize(
    ("image", "name"),
    [("{}_rgb.png", "{}_seg.png"), ("{}.jpg", "{}.png"), ("rgb_{}.png", "ss_{}.png")],
)
def test_images_and_labels_in_one_folder(tmp_path, image, name):
    for index in range(12):
        photo(tmp_path / image.format(index))
        if index < 10:
            label(tmp_path / name.format(index))
    found = look_at_labeled(tmp_path, tmp_path)
    pairs = {image.format(index): name.format(index) for index in range(10)}
    assert {each: found.naming.label_name(each) for each in found.images.names} == pairs
    assert found.unlabeled == 2
    assert set(found.pixels) == {0, 1}


def test_endings_in_upper_case(tmp_path):
    for name in ("1.JPG", "2.jpg", "3.jpg"):
        photo(tmp_path / "rgb" / name)
        label(tmp_path / "seg" / f"{name[0]}.png")
    found = look_at_labeled(tmp_path / "rgb", tmp_path / "seg")
    assert found.images.names == ["1.JPG", "2.jpg", "3.jpg"]
    assert found.unlabeled == 0


@pytest.mark.parametrize("endings", [("jpg", "jpg", "png", "png"), ("jpg", "jpg", "jpg", "png")])
def test_labeled_images_of_two_endings(tmp_path, endings):
    for index, ending in enumerate(endings):
        photo(tmp_path / "rgb" / f"{index}.{ending}")
        label(tmp_path / "seg" / f"{index}.png")
    other = endings.count("png")
    with pytest.raises(ValueError, match=rf"^{other} images .*another ending than \.jpg .*\.png\)"):
        look_at_labeled(tmp_path / "rgb", tmp_path / "seg")
    for index in range(4):
        (tmp_path / "rgb" / f"{index}.png").unlink(missing_ok=True)
    assert look_at_labeled(tmp_path / "rgb", tmp_path / "seg").unlabeled == 0


def test_pictures_in_place_of_labels_are_said_to_be_none(tmp_path):
    for index in range(3):
        photo(tmp_path / "rgb" / f"{index}.jpg")
        photo(tmp_path / "seg" / f"{index}.png")
    with pytest.raises(ValueError, match=r"named by .*'\.jpg'.* more than 256 ids or colors"):
        look_at_labeled(tmp_path / "rgb", tmp_path / "seg")


def test_pictures_beside_labels_are_passed_over(tmp_path):
    for index in range(3):
        photo(tmp_path / "rgb" / f"{index}.jpg")
        photo(tmp_path / "seg" / f"{index}_overlay.png")
        label(tmp_path / "seg" / f"{index}_ids.png")
    found = look_at_labeled(tmp_path / "rgb", tmp_path / "seg")
    assert found.naming.label_name("1.jpg") == "1_ids.png"


def test_what_no_dataset_reads_is_refused(tmp_path):
    wide = tmp_path / "wide.png"
    label(wide, np.zeros((4, 6, 3), np.uint16))
    with pytest.raises(ValueError, match="3 x 16 bits, expected"):
        values_of(wide)
    gray = tmp_path / "gray.png"
    Image.fromarray(LABEL).save(gray, bits=2)
    with pytest.raises(ValueError, match="1 x 2 bits, expected"):
        values_of(gray)
    picture = tmp_path / "picture.png"
    Image.fromarray(LABEL).save(picture, "JPEG")
    with pytest.raises(ValueError, match="JPEG"):
        values_of(picture)


@pytest.mark.parametrize("bits", [1, 8, 16])
def test_ids_of_one_channel_are_counted(tmp_path, bits):
    path = tmp_path / "label.png"
    label(path, LABEL.astype(np.uint16 if bits == 16 else np.uint8))
    if bits == 1:
        Image.fromarray(LABEL.astype(bool)).save(path)
    assert values_of(path) == {0: 12, 1: 12}


def test_a_target_file_that_is_no_video(tmp_path):
    path = tmp_path / "frame.png"
    path.touch()
    with pytest.raises(ValueError, match=r"frame.png is a file whose ending is none of \.mp4"):
        look_at_target(path)
