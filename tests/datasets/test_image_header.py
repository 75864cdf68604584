import io

import cv2
import numpy as np
import pytest
from PIL import Image

from mmdrsl.datasets.image_header import MAX_SIDE, read_header

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)


def encode(pixels, suffix=".png"):
    return cv2.imencode(suffix, pixels)[1].tobytes()


def palette_file():
    buffer = io.BytesIO()
    image = Image.fromarray(PIXELS[..., 0])
    image.putpalette(list(range(256)) * 3)
    image.save(buffer, "PNG")
    return buffer.getvalue()


def bilevel_file():
    buffer = io.BytesIO()
    Image.fromarray(PIXELS[..., 0] > 99).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (encode(PIXELS), "PNG, 3 x 8 bits"),
        (encode(PIXELS, ".jpg"), "JPEG, 3 x 8 bits"),
        (encode(PIXELS.astype(np.uint16) * 9), "PNG, 3 x 16 bits"),
        (encode(PIXELS[..., 0].astype(np.uint16)), "PNG, 1 x 16 bits"),
        (encode(PIXELS[..., 0]), "PNG, 1 x 8 bits"),
        (palette_file(), "PNG, palette of 8 bits"),
        (bilevel_file(), "PNG, 1 x 1 bits"),
    ],
)
def test_kinds(data, expected):
    header = read_header(io.BytesIO(data), "a")
    assert header.describe() == expected
    assert header.size == (8, 6)
    assert not header.alpha


def test_alpha():
    assert read_header(io.BytesIO(encode(np.dstack([PIXELS, PIXELS[..., 0]]))), "a").alpha


def test_longest_side():
    assert read_header(io.BytesIO(encode(np.zeros((1, MAX_SIDE), np.uint8))), "a").size[0] == 16384
    with pytest.raises(ValueError, match=r"wide\.png is 16385x1 pixels"):
        read_header(io.BytesIO(encode(np.zeros((1, MAX_SIDE + 1), np.uint8))), "wide.png")
