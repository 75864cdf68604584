import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmseg.registry import TRANSFORMS
from PIL import Image, ImageOps

import mmdrsl.datasets  # noqa: F401 - registers the transforms
from mmdrsl.datasets.transforms.loading import LoadImage, LoadLabels, LoadPseudoLabels
from mmdrsl.datasets.validation import header_size

LOOKUP = np.full(257, -1, dtype=np.int16)
LOOKUP[[0, 7, 8, 255]] = [255, 0, 1, 255]
RAW = np.array([[0, 7, 8], [8, 7, 7]], dtype=np.uint8)
TRAIN = np.array([[255, 0, 1], [1, 0, 0]], dtype=np.uint8)


def load(path, *, channel=None, **extra):
    results = {"seg_map_path": str(path), "label_lookup": LOOKUP, "label_channel": channel}
    return LoadLabels().transform({"ori_shape": (2, 3), "seg_fields": [], **results, **extra})


def expect_error(path, *texts, error=ValueError, **options):
    with pytest.raises(error, match=re.escape(str(path))) as caught:
        load(path, **options)
    for text in texts:
        assert text in str(caught.value)


def save_palette(path, ids):
    image = Image.fromarray(ids)
    # Colors unlike the ids, so that reading colors instead of indices shows.
    image.putpalette([(37 * value + 11) % 256 for value in range(768)])
    image.save(path)


def save_synthia(path, ids):
    instances = np.arange(ids.size, dtype=np.uint16).reshape(ids.shape) + 1000
    blue = np.full(ids.shape, 5, dtype=np.uint16)
    cv2.imwrite(str(path), np.dstack([blue, instances, ids.astype(np.uint16)]))


def test_registered():
    for name, cls in [
        ("LoadImage", LoadImage),
        ("LoadLabels", LoadLabels),
        ("LoadPseudoLabels", LoadPseudoLabels),
    ]:
        assert TRANSFORMS.get(name) is cls


def test_palette_gives_the_index(tmp_path):
    path = tmp_path / "label.png"
    save_palette(path, RAW)
    assert cv2.imread(str(path), cv2.IMREAD_UNCHANGED).ndim == 3
    results = load(path)
    np.testing.assert_array_equal(results["gt_seg_map"], TRAIN)
    assert results["gt_seg_map"].dtype == np.uint8
    assert results["seg_fields"] == ["gt_seg_map"]


def test_small_palette_packs_bits(tmp_path):
    path = tmp_path / "label.png"
    image = Image.fromarray(np.array([[0, 7, 8], [8, 7, 7]], dtype=np.uint8))
    image.putpalette(list(range(27)))
    image.save(path, bits=4)
    assert path.read_bytes()[24] == 4
    np.testing.assert_array_equal(load(path)["gt_seg_map"], TRAIN)


def test_gray_gives_the_value(tmp_path):
    path = tmp_path / "label.png"
    cv2.imwrite(str(path), RAW)
    np.testing.assert_array_equal(load(path)["gt_seg_map"], TRAIN)


def test_synthia_takes_red_where_pillow_loses_ids(tmp_path):
    path = tmp_path / "label.png"
    save_synthia(path, RAW)
    with Image.open(path) as image:
        assert not np.asarray(image)[..., 0].any(), "Pillow keeps the high byte: every id is 0"
    np.testing.assert_array_equal(load(path, channel="red")["gt_seg_map"], TRAIN)


def test_unknown_ids_are_counted(tmp_path):
    path = tmp_path / "label.png"
    cv2.imwrite(str(path), np.array([[9, 9, 7], [40, 7, 7]], dtype=np.uint8))
    expect_error(path, "9 (2 pixels), 40 (1 pixels)")


def test_unknown_ids_beyond_8_bits(tmp_path):
    path = tmp_path / "label.png"
    # 264 would be the known id 8 without its high byte, and 7 if ids wrapped around the lookup.
    save_synthia(path, np.array([[264, 7, 7], [7, 7, 60000]], dtype=np.uint16))
    expect_error(path, "264 (1 pixels), 60000 (1 pixels)", channel="red")


@pytest.mark.parametrize(
    ("pixels", "channel", "found"),
    [
        (np.zeros((2, 3, 3), np.uint8), None, "3 channel(s) of uint8, expected 1 channel"),
        (np.zeros((2, 3, 3), np.uint8), "red", "3 channel(s) of uint8, expected 3 channels of"),
        (np.zeros((2, 3, 4), np.uint16), "red", "4 channel(s) of uint16"),
        (np.zeros((2, 3), np.uint8), "red", "1 channel(s) of uint8"),
    ],
)
def test_wrong_type_or_channels(tmp_path, pixels, channel, found):
    path = tmp_path / "label.png"
    cv2.imwrite(str(path), pixels)
    expect_error(path, found, channel=channel)


def test_unreadable_labels(tmp_path):
    missing = tmp_path / "missing.png"
    expect_error(missing, "no file", error=FileNotFoundError)
    empty = tmp_path / "empty.png"
    empty.touch()
    expect_error(empty, "0 bytes")
    text = tmp_path / "text.png"
    text.write_text("not an image")
    expect_error(text, "cannot read the header")
    jpeg = tmp_path / "label.jpg"
    cv2.imwrite(str(jpeg), RAW)
    expect_error(jpeg, "is JPEG")
    bits = tmp_path / "bits.png"
    Image.fromarray(RAW > 0).save(bits)
    expect_error(bits, "1 bits per pixel")


@pytest.mark.parametrize("save", [save_palette, lambda path, ids: cv2.imwrite(str(path), ids)])
def test_truncated_labels(tmp_path, save):
    path = tmp_path / "label.png"
    save(path, np.random.default_rng(0).integers(7, 9, (64, 64)).astype(np.uint8))
    path.write_bytes(path.read_bytes()[:-60])
    expect_error(path, "label")


def test_size_is_compared_with_the_image_as_stored(tmp_path):
    path = tmp_path / "label.png"
    cv2.imwrite(str(path), RAW)
    expect_error(path, "is 3x2", "image.jpg is 2x3", ori_shape=(3, 2), img_path="image.jpg")
    resized = {"ori_shape": (2, 3), "img": np.zeros((20, 30, 3), np.uint8)}
    assert load(path, **resized)["gt_seg_map"].shape == (2, 3)


def load_pseudo(path, shape=(2, 3), num_classes=2):
    results = {
        "pseudo_label_path": None if path is None else str(path),
        "img": np.zeros((*shape, 3), np.uint8),
        "num_classes": num_classes,
        "seg_fields": [],
    }
    return LoadPseudoLabels().transform(results)


def test_pseudo_labels(tmp_path):
    path = tmp_path / "pseudo.png"
    cv2.imwrite(str(path), TRAIN)
    results = load_pseudo(path)
    np.testing.assert_array_equal(results["gt_seg_map"], TRAIN)
    assert results["seg_fields"] == ["gt_seg_map"]


def test_no_pseudo_labels_yet():
    results = load_pseudo(None, shape=(4, 5))
    np.testing.assert_array_equal(results["gt_seg_map"], np.full((4, 5), 255))
    assert results["gt_seg_map"].dtype == np.uint8
    assert results["seg_fields"] == ["gt_seg_map"]


def test_pseudo_label_errors(tmp_path):
    path = tmp_path / "pseudo.png"
    cv2.imwrite(str(path), TRAIN)
    with pytest.raises(ValueError, match=r"pseudo\.png holds ids \[1\], expected 0\.\.0 or 255"):
        load_pseudo(path, num_classes=1)
    with pytest.raises(ValueError, match=r"pseudo\.png is 3x2 .* 9x9"):
        load_pseudo(path, shape=(9, 9))
    with pytest.raises(FileNotFoundError, match=r"other\.png"):
        load_pseudo(tmp_path / "other.png")
    cv2.imwrite(str(path), np.dstack([TRAIN] * 3))
    with pytest.raises(ValueError, match=r"pseudo\.png has 3 channel\(s\)"):
        load_pseudo(path)


BGR = np.random.default_rng(1).integers(0, 256, (6, 8, 3)).astype(np.uint8)


def load_image(path):
    return LoadImage().transform({"img_path": str(path)})


def test_image_is_bgr_whatever_the_file(tmp_path):
    path = tmp_path / "image.png"
    Image.fromarray(BGR[..., ::-1]).save(path)
    results = load_image(path)
    np.testing.assert_array_equal(results["img"], BGR)
    assert results["img_shape"] == results["ori_shape"] == (6, 8)

    opaque = np.full(BGR.shape[:2], 255, np.uint8)
    Image.fromarray(np.dstack([BGR[..., ::-1], opaque])).save(path)
    np.testing.assert_array_equal(load_image(path)["img"], BGR)

    Image.fromarray(BGR[..., 0]).save(path)
    np.testing.assert_array_equal(load_image(path)["img"], np.dstack([BGR[..., 0]] * 3))

    cv2.imwrite(str(path), BGR.astype(np.uint16) * 256 + 9)
    results = load_image(path)
    assert results["img"].dtype == np.uint8
    np.testing.assert_array_equal(results["img"], BGR)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("tag", range(1, 9))
def test_images_are_turned_upright(tmp_path, suffix, tag):
    path = tmp_path / f"photo{suffix}"
    exif = Image.Exif()
    exif[0x0112] = tag
    corners = np.kron(np.array([[10, 240], [90, 160]], np.uint8), np.ones((16, 24), np.uint8))
    Image.fromarray(np.dstack([corners] * 3)).save(path, exif=exif)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    results = load_image(path)
    assert results["img_shape"] == results["ori_shape"] == expected.shape[:2]
    np.testing.assert_allclose(results["img"][..., ::-1].astype(int), expected, atol=3)
    assert header_size(str(path)) == expected.shape[1::-1]
    if tag != 1:
        with pytest.raises(ValueError, match=rf"{path.name} has the EXIF orientation {tag}:"):
            LoadImage().transform({"img_path": str(path), "seg_map_path": "label.png"})


def test_turned_tiff_and_damaged_exif(tmp_path):
    path = tmp_path / "photo.tif"
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(BGR).save(path, exif=exif)
    with pytest.raises(ValueError, match=r"photo\.tif is a TIFF file with the orientation 3"):
        load_image(path)
    path = tmp_path / "photo.jpg"
    for content in (
        b"Exif\0\0nothing",
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x09",
    ):
        Image.fromarray(BGR).save(path, exif=content)
        assert load_image(path)["img"].shape == BGR.shape


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp"])
def test_truncated_image(tmp_path, suffix):
    path = tmp_path / f"image{suffix}"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=re.escape(str(path))):
        load_image(path)


def test_unreadable_images(tmp_path):
    empty = Path(tmp_path / "empty.jpg")
    empty.touch()
    with pytest.raises(ValueError, match=r"empty\.jpg is empty \(0 bytes\)"):
        load_image(empty)
    empty.write_text("text")
    with pytest.raises(ValueError, match=r"cannot read the header of .*empty\.jpg \(4 bytes\)"):
        load_image(empty)
    with pytest.raises(FileNotFoundError, match=r"missing\.jpg"):
        load_image(tmp_path / "missing.jpg")
