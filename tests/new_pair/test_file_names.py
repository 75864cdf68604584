import time

import pytest

from mmdrsl.new_pair.file_names import find_namings


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (["1.png", "2.png"], ["1.png", "2.png"]),
        (["a/1.jpg", "b/1.jpg"], ["a/1.png", "b/1.png"]),
        (
            ["x/x_0_leftImg8bit.png", "y/y_10_leftImg8bit.png"],
            ["x/x_0_gtFine_labelIds.png", "y/y_10_gtFine_labelIds.png"],
        ),
        (["rgb_1.png", "rgb_22.png"], ["ss_1.png", "ss_22.png"]),
        (["s1/rgb/7.png", "s2/rgb/7.png"], ["s1/seg/7.png", "s2/seg/7.png"]),
        (["img_1_rgb.jpg", "img_2_rgb.jpg"], ["img_1_road.png", "img_2_road.png"]),
        (["1.jpg", "10.jpg", "11.jpg"], ["1_label.png", "10_label.png", "11_label.png"]),
    ],
)
def test_each_image_gets_its_label(images, labels):
    (naming,) = find_namings(images, labels[::-1])
    assert [naming.label_name(image) for image in images] == labels


def test_several_labels_for_each_image_are_all_named():
    images = ["a_1.png", "a_2.png"]
    labels = [f"a_{n}_{kind}.png" for n in (1, 2) for kind in ("ids", "color")]
    assert {naming.label_name("a_7.png") for naming in find_namings(images, labels)} == {
        "a_7_ids.png",
        "a_7_color.png",
    }


def test_the_naming_that_covers_most_images_is_taken():
    images = ["1.png", "2.png", "3.png"]
    (naming,) = find_namings(images, ["1_a.png", "2_a.png", "1_b.png"])
    assert naming.label_name("3.png") == "3_a.png"


def test_names_without_anything_in_common():
    assert find_namings(["x.png", "z.png"], ["u.png", "w.png"]) == []


@pytest.mark.parametrize("first", [0, 20, 150])
@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("frame_{:04}.jpg", "frame_{:04}.png"),
        ("frame_{:04}_rgb.jpg", "frame_{:04}_seg.png"),
        ("rgb_{:04}.png", "ss_{:04}.png"),
        ("{:04}/rgb/1.png", "{:04}/seg/1.png"),
    ],
)
def test_images_without_label_do_not_get_those_of_others(image, label, first):
    images = [image.format(index) for index in range(200)]
    labels = [label.format(index) for index in range(first, 200)]
    (naming,) = find_namings(images, labels)
    assert naming.pairs(images, labels) == dict(zip(images[first:], labels, strict=True))


def test_a_naming_of_few_by_chance_is_none():
    images = [f"{letter}_x.jpg" for letter in "abcdefgh"]
    assert find_namings(images, ["a_y.png", *(f"{index}.png" for index in range(8))]) == []


def test_several_labels_of_few_images_are_all_named():
    images = [f"a_{index:03}.jpg" for index in range(100)]
    kinds = (".png", "_color.png", "_ids.png")
    labels = [f"a_{index:03}{kind}" for index in range(20) for kind in kinds]
    namings = find_namings(images, labels)
    assert {naming.label_name("a_7.jpg") for naming in namings} == {"a_7" + kind for kind in kinds}


def test_thousands_of_files_take_seconds():
    images = [f"frame_{index:05}_rgb.jpg" for index in range(4000)]
    labels = [f"frame_{index:05}_seg.png" for index in range(2000, 4000)]
    start = time.process_time()
    (naming,) = find_namings(images, labels)
    assert time.process_time() - start < 5
    assert naming.label_name("frame_1_rgb.jpg") == "frame_1_seg.png"


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (["1.JPG", "2.jpg", "3.jpg"], ["1.png", "2.PNG", "3.png"]),
        (["rgb_1.PNG", "rgb_2.png", "rgb_3.png"], ["ss_1.png", "ss_2.PNG", "ss_3.png"]),
    ],
)
def test_endings_in_upper_and_lower_case_are_alike(images, labels):
    (naming,) = find_namings(images, labels)
    assert naming.pairs(images, labels) == dict(zip(images, labels, strict=True))
