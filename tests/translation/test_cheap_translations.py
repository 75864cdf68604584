import cv2
import numpy as np
import pytest

from mmdrsl.translation.functional import keep_lightness, match_lab_statistics, swap_low_amplitudes


def picture(seed, height=20, width=30, low=40, high=200):
    rng = np.random.default_rng(seed)
    noise = rng.integers(low, high, (height // 2, width // 2, 3)).astype(np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_LINEAR)


def dft(values):
    """The two-dimensional Fourier transform by its definition."""
    height, width = values.shape
    rows = np.exp(-2j * np.pi * np.outer(np.arange(height), np.arange(height)) / height)
    columns = np.exp(-2j * np.pi * np.outer(np.arange(width), np.arange(width)) / width)
    return rows @ values @ columns


def swapped_frequency_by_frequency(image, reference, band):
    height, width = image.shape[:2]
    limit = int(np.floor(band * min(height, width)))
    result = np.empty(image.shape)
    for channel in range(3):
        spectrum, other = (dft(p[..., channel].astype(float)) for p in (image, reference))
        for row in range(height):
            for column in range(width):
                vertical, horizontal = min(row, height - row), min(column, width - column)
                if vertical <= limit and horizontal <= limit:
                    phase = spectrum[row, column] / abs(spectrum[row, column])
                    spectrum[row, column] = abs(other[row, column]) * phase
        result[..., channel] = np.conj(dft(np.conj(spectrum))).real / (height * width)
    return result


@pytest.mark.parametrize("band", [0.0, 0.05, 0.11, 0.3])
@pytest.mark.parametrize("size", [(20, 30), (21, 16)])
def test_fourier_swap_equals_the_definition(band, size):
    image, reference = picture(0, *size)[: size[0], : size[1]], picture(1, *size, 90, 250)
    expected = swapped_frequency_by_frequency(image, reference, band)
    found = swap_low_amplitudes(image, reference, band)
    # Rounding to bytes, and values exactly between two bytes.
    assert np.abs(found - np.clip(expected, 0, 255)).max() < 0.5 + 1e-6
    assert np.abs(found.astype(int) - image).max() > 3


def test_fourier_band_of_zero_moves_the_mean_alone():
    image, reference = picture(2), picture(3, low=90, high=210)
    found = swap_low_amplitudes(image, reference, 0.0)
    assert np.allclose(found.mean((0, 1)), reference.mean((0, 1)), atol=0.5)
    centered = [p - p.mean((0, 1)) for p in (found.astype(float), image.astype(float))]
    assert np.abs(centered[0] - centered[1]).max() < 1.1


def test_fourier_reference_of_another_size_and_itself():
    image = picture(4)
    assert swap_low_amplitudes(image, picture(5, 48, 40), 0.1).shape == image.shape
    assert np.array_equal(swap_low_amplitudes(image, image, 0.2), image)


def lab(image):
    """CIE LAB from the definition, for sRGB and its D65 white point."""
    rgb = image[..., ::-1] / 255.0
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    matrix = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    )  # fmt: skip
    x, y, z = np.moveaxis(linear @ (matrix / matrix.sum(1, keepdims=True)).T, -1, 0)
    edge = (6 / 29) ** 3

    def root(t):
        return np.where(t > edge, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)

    return np.stack(
        [116 * root(y) - 16, 500 * (root(x) - root(y)), 200 * (root(y) - root(z))], axis=-1
    )


def test_lab_statistics_are_those_of_the_reference():
    image, reference = picture(6), picture(7, 24, 24, 80, 180)
    found = lab(match_lab_statistics(image, reference))
    wanted = lab(reference)
    assert np.allclose(found.mean((0, 1)), wanted.mean((0, 1)), atol=0.3)
    assert np.allclose(found.std((0, 1)), wanted.std((0, 1)), atol=0.3)
    # A monotone map of lightness: the order of pixels stays.
    before, after = lab(image)[..., 0].ravel(), found[..., 0].ravel()
    assert np.corrcoef(before, after)[0, 1] > 0.999


def test_lab_on_a_flat_image_gives_the_reference_mean():
    flat = np.full((6, 8, 3), (30, 90, 160), np.uint8)
    reference = picture(8, 20, 20, 100, 160)
    found = match_lab_statistics(flat, reference)
    assert np.unique(found.reshape(-1, 3), axis=0).shape[0] == 1
    assert np.allclose(lab(found)[0, 0], lab(reference).mean((0, 1)), atol=0.8)


def test_lab_leaves_gray_images_gray():
    gray = np.repeat(picture(12)[..., :1], 3, axis=2)
    found = match_lab_statistics(gray, picture(13)).astype(int)
    # One color cast for all: that of the reference's mean.
    cast = lab(found)[..., 1:]
    assert cast.std((0, 1)).max() < 1.5
    assert np.allclose(cast.mean((0, 1)), lab(picture(13)).mean((0, 1))[1:], atol=1.5)


def test_lab_on_a_large_flat_image_gives_the_reference_mean():
    flat = np.full((1052, 1914, 3), (30, 90, 160), np.uint8)
    reference = picture(14, 20, 20, 100, 160)
    found = match_lab_statistics(flat, reference)
    assert np.allclose(lab(found[:4, :4]).mean((0, 1)), lab(reference).mean((0, 1)), atol=0.8)


def test_kept_lightness_is_the_originals_and_colors_are_the_translations():
    image, translation = picture(9, low=90, high=130), picture(10, low=60, high=110)
    found, before, colors = (
        lab(p) for p in (keep_lightness(translation, image), image, translation)
    )
    # Rounding to bytes moves lightness by less than half a unit, colors by less than one.
    assert np.abs(found[..., 0] - before[..., 0]).max() < 0.6
    assert np.abs(found[..., 1:] - colors[..., 1:]).max() < 1.5
    assert np.abs(before[..., 0] - colors[..., 0]).mean() > 5
    assert np.abs(before[..., 1:] - colors[..., 1:]).mean() > 1.5


def test_kept_lightness_of_an_untranslated_image_changes_nothing():
    found = keep_lightness(picture(11), picture(11))
    # OpenCV's two conversions undo each other up to a unit.
    assert np.abs(found.astype(int) - picture(11)).max() <= 1


def test_kept_lightness_needs_the_originals_shape():
    with pytest.raises(ValueError, match="shape of its original"):
        keep_lightness(picture(0), picture(0, 30, 20))


@pytest.mark.parametrize("band", [-0.1, 0.5])
def test_impossible_band(band):
    with pytest.raises(ValueError, match="band"):
        swap_low_amplitudes(picture(0), picture(1), band)


@pytest.mark.parametrize(
    "translate",
    [match_lab_statistics, keep_lightness, lambda a, b: swap_low_amplitudes(a, b, 0.1)],
)
def test_other_arrays_are_refused(translate):
    with pytest.raises(ValueError, match=r"\(H, W, 3\)"):
        translate(picture(0).astype(np.float32), picture(1))
    with pytest.raises(ValueError, match=r"\(H, W, 3\)"):
        translate(picture(0), picture(1)[..., 0])
