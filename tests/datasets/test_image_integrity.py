import io
import os
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from mmdrsl.datasets.image_integrity import check_jpeg, check_jpeg_end, check_png
from mmdrsl.datasets.transforms.loading import LoadImage, read_raw_ids
from mmdrsl.datasets.unlabeled import UnlabelledDataset
from mmdrsl.datasets.validation import check_sizes

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
SMOOTH = cv2.GaussianBlur(
    np.random.default_rng(1).integers(0, 256, (96, 128, 3), dtype=np.uint8), (0, 0), 2
)


def encode(pixels, suffix=".png", *options):
    return cv2.imencode(suffix, pixels, options)[1].tobytes()


def test_png_checksums():
    data = encode(PIXELS)
    check_png(data, "a")
    for position in range(8, len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 1
        with pytest.raises(ValueError, match=r"a\.png is cut short or damaged"):
            check_png(bytes(damaged), "a.png")
        with pytest.raises(ValueError, match=r"a\.png is cut short or damaged"):
            check_png(data[:position], "a.png")


def chunk(kind, content):
    body = kind + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def palette_png(rows, *, height=6, width=8, extra=b"", interlaced=0):
    """A palette PNG, written by hand, which may have fewer rows than it says."""
    raw = b"".join(b"\0" + bytes([row % 3] * width) for row in range(rows))
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, interlaced)
    chunks = chunk(b"IHDR", header) + extra + chunk(b"PLTE", bytes(9))
    return b"\x89PNG\r\n\x1a\n" + chunks + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


def test_labels_with_too_few_rows(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(palette_png(6))
    assert read_raw_ids(str(path))[:, 0].tolist() == [0, 1, 2, 0, 1, 2]
    path.write_bytes(palette_png(6, interlaced=1))
    with pytest.raises(ValueError, match=r"cannot decode the label .*a\.png"):
        read_raw_ids(str(path))
    for rows in (5, 1, 0):
        path.write_bytes(palette_png(rows))
        with pytest.raises(ValueError, match=rf"cannot decode .*a\.png: it has {rows} of 6 rows"):
            read_raw_ids(str(path))
        with pytest.raises(ValueError, match=r"a\.png"):
            LoadImage().transform({"img_path": str(path)})


def test_animated_png(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(palette_png(6, extra=chunk(b"acTL", struct.pack(">II", 1, 0))))
    with pytest.raises(ValueError, match=r"a\.png is an animated PNG"):
        read_raw_ids(str(path))
    frames = [Image.fromarray(PIXELS), Image.fromarray(255 - PIXELS)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    with pytest.raises(ValueError, match=r"a\.png is an animated PNG"):
        LoadImage().transform({"img_path": str(path)})


def jpegs():
    """Whole JPEG files of several kinds."""
    thumbnail = Image.Exif()
    thumbnail[0x010E] = "text with \xff\xd9 inside"
    buffer = io.BytesIO()
    Image.fromarray(SMOOTH).save(buffer, "JPEG", exif=thumbnail, quality=90)
    return {
        "baseline": encode(SMOOTH, ".jpg"),
        "progressive": encode(SMOOTH, ".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        "restarts": encode(SMOOTH, ".jpg", cv2.IMWRITE_JPEG_RST_INTERVAL, 3),
        "gray": encode(SMOOTH[..., 0], ".jpg"),
        "exif": buffer.getvalue(),
    }


@pytest.mark.parametrize("kind", jpegs())
def test_jpeg_that_ends_early(tmp_path, kind):
    data = jpegs()[kind]
    path = tmp_path / "photo.jpg"
    # What phones append, such as a film, does not matter.
    for whole in (data, data + bytes(50), data + b"film" + data[:900]):
        check_jpeg(whole, "a")
        check_jpeg_end(io.BytesIO(whole), "a")
        path.write_bytes(whole)
        image = LoadImage().transform({"img_path": str(path)})["img"]
        assert image.shape == (96, 128, 3)
        check_sizes([str(path)])
    generator = np.random.default_rng(0)
    for length in generator.integers(len(data) // 2, len(data) - 2, 10).tolist():
        for damaged in (data[:length], data[:length] + bytes(len(data) - length)):
            path.write_bytes(damaged)
            with pytest.raises(ValueError, match=r"photo\.jpg has no end-of-image marker"):
                LoadImage().transform({"img_path": str(path)})
            with pytest.raises(ValueError, match=r"photo\.jpg has no end-of-image marker"):
                UnlabelledDataset(data_root=str(tmp_path))


@pytest.mark.parametrize("kind", ["baseline", "progressive", "exif"])
def test_jpeg_with_zeros_in_its_middle(tmp_path, kind, capfd):
    data = jpegs()[kind]
    path = tmp_path / "photo.jpg"
    for start in (len(data) // 2, len(data) * 2 // 3):
        path.write_bytes(data[:start] + bytes(800) + data[start + 800 :])
        with pytest.raises(ValueError, match=r"photo\.jpg is damaged in its middle \(Corrupt JPEG"):
            LoadImage().transform({"img_path": str(path)})
    os.write(2, b"still there\n")
    assert "still there" in capfd.readouterr().err


def test_plain_areas_and_zeros_in_the_head_of_a_jpeg(tmp_path):
    path = tmp_path / "photo.jpg"
    plain = np.full((512, 512, 3), 128, np.uint8)
    plain[:8] = 100
    exif = Image.Exif()
    exif[0x010E] = "\0" * 500
    for options in (dict(optimize=True), dict(exif=exif), dict(optimize=True, progressive=True)):
        Image.fromarray(plain).save(path, "JPEG", **options)
        assert bytes(64) in path.read_bytes()
        assert LoadImage().transform({"img_path": str(path)})["img"].shape == (512, 512, 3)


def test_zeros_behind_a_jpeg_whose_last_bytes_are_odd(tmp_path):
    data = encode(SMOOTH, ".jpg")
    path = tmp_path / "photo.jpg"
    # Decoders pass over these bytes with the words that they have for damage.
    path.write_bytes(data[:-2] + b"\x11\x22\x33\x44" + data[-2:] + bytes(4096))
    assert LoadImage().transform({"img_path": str(path)})["img"].shape == SMOOTH.shape


def test_words_of_another_thread_refuse_no_jpeg(tmp_path, monkeypatch, capfd):
    path = tmp_path / "photo.jpg"
    plain = np.full((512, 512, 3), 128, np.uint8)
    plain[:8] = 100
    Image.fromarray(plain).save(path, "JPEG", optimize=True)
    decode = cv2.imdecode
    words = b"Corrupt JPEG data: 4 extraneous bytes before marker 0xd9\n"

    def beside_another_thread(*arguments):
        os.write(2, words)
        return decode(*arguments)

    monkeypatch.setattr(cv2, "imdecode", beside_another_thread)
    assert LoadImage().transform({"img_path": str(path)})["img"].shape == (512, 512, 3)
    assert words.decode() in capfd.readouterr().err


def test_tiff_with_a_damaged_middle(tmp_path):
    data = encode(SMOOTH, ".tif")
    path = tmp_path / "a.tif"
    path.write_bytes(data)
    assert (LoadImage().transform({"img_path": str(path)})["img"] == SMOOTH).all()
    path.write_bytes(data[: len(data) // 2] + bytes(999) + data[len(data) // 2 + 999 :])
    with pytest.raises(ValueError, match=r"cannot decode .*a\.tif"):
        LoadImage().transform({"img_path": str(path)})


def test_jpeg_2000_that_ends_early(tmp_path):
    data = encode(SMOOTH, ".jp2")
    path = tmp_path / "a.jp2"
    path.write_bytes(data)
    assert LoadImage().transform({"img_path": str(path)})["img"].shape == (96, 128, 3)
    path.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))
    with pytest.raises(ValueError, match=r"a\.jp2 has no end-of-image marker"):
        LoadImage().transform({"img_path": str(path)})
