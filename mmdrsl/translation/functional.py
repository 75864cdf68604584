"""Translations that need no training, as pure functions of two images.

Images are blue, green, red of 8 bits, shape (H, W, 3).
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]
_FLAT = 0.1
"""Standard deviation of a LAB channel below which it counts as flat; its range is 100 or more."""


def swap_low_amplitudes(image: Picture, reference: Picture, band: float) -> Picture:
    """Give an image the low-frequency amplitudes of another and keep its phase (FDA, Yang and Soatto 2020, eq. 4).

    Per channel, amplitudes of the frequencies up to ``floor(band * min(H, W))`` cycles per image, vertically and
    horizontally, are those of the reference, resized to the image's size.

    Args:
        image: Image to translate, (H, W, 3).
        reference: Image of the other domain, of any size.
        band: Relative half-size of the window of swapped frequencies, in [0, 0.5); the paper uses 0.01, 0.05, 0.09.

    Returns:
        The translated image, (H, W, 3), rounded and clipped to 0..255.

    Raises:
        ValueError: `band` is outside its range, or an image is not (H, W, 3) of 8 bits.
    """
    if not 0 <= band < 0.5:
        raise ValueError(f"band must be in [0, 0.5), found {band}.")
    _check(image, reference)
    height, width = image.shape[:2]
    resized = cv2.resize(reference, (width, height), interpolation=cv2.INTER_CUBIC)
    spectrum = np.fft.fft2(image.astype(np.float64), axes=(0, 1))
    amplitudes = np.abs(np.fft.fft2(resized.astype(np.float64), axes=(0, 1)))
    limit = int(band * min(height, width))
    low_rows = np.abs(np.fft.fftfreq(height, 1 / height)) < limit + 0.5
    low_columns = np.abs(np.fft.fftfreq(width, 1 / width)) < limit + 0.5
    low = low_rows[:, None, None] & low_columns[None, :, None]
    mixed = np.where(low, amplitudes * np.exp(1j * np.angle(spectrum)), spectrum)
    # Source and reference are real and the window is symmetric, so the imaginary part is rounding alone.
    return _to_bytes(np.fft.ifft2(mixed, axes=(0, 1)).real)


def match_lab_statistics(image: Picture, reference: Picture) -> Picture:
    """Move mean and standard deviation of each LAB channel to those of another image (Reinhard et al. 2001).

    Args:
        image: Image to translate, (H, W, 3).
        reference: Image of the other domain, of any size.

    Returns:
        The translated image, (H, W, 3), rounded and clipped to 0..255.

    Raises:
        ValueError: An image is not (H, W, 3) of 8 bits.
    """
    _check(image, reference)
    lab, wanted = _lab(image), _lab(reference)
    (mean, deviation), (wanted_mean, wanted_deviation) = (
        (values.mean(axis=(0, 1), dtype=np.float64), values.std(axis=(0, 1), dtype=np.float64))
        for values in (lab, wanted)
    )
    # A flat channel, as those of color in a gray image, has only the conversion's rounding to stretch.
    flat = deviation < _FLAT
    factor = np.where(flat, 1.0, wanted_deviation / np.where(flat, 1.0, deviation))
    return _from_lab((lab - mean) * factor + wanted_mean)


def keep_lightness(translation: Picture, image: Picture) -> Picture:
    """Give a translation the lightness of its original, so that colors alone are translated; this project's own.

    Args:
        translation: Translated image, (H, W, 3); its LAB channels a and b are kept.
        image: The original, of the same shape; its LAB channel L is kept.

    Returns:
        The translation with the original's lightness, (H, W, 3). Colors that do not exist at that lightness are
        clipped to 0..255.

    Raises:
        ValueError: An image is not (H, W, 3) of 8 bits, or the shapes differ.
    """
    _check(translation, image)
    if translation.shape != image.shape:
        raise ValueError(
            f"A translation has the shape of its original, found {translation.shape} and {image.shape}."
        )
    mixed = _lab(translation)
    mixed[..., 0] = _lab(image)[..., 0]
    return _from_lab(mixed)


def _lab(picture: Picture) -> npt.NDArray[np.float32]:
    return np.asarray(cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_BGR2LAB), np.float32)


def _from_lab(lab: npt.NDArray[np.floating]) -> Picture:
    values = cv2.cvtColor(lab.astype(np.float32), cv2.COLOR_LAB2BGR)
    return _to_bytes(255 * np.asarray(values, np.float32))


def _to_bytes(values: npt.NDArray[np.floating]) -> Picture:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def _check(*images: Picture) -> None:
    for image in images:
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(
                f"Expected images of shape (H, W, 3) and type uint8, found {image.shape} of {image.dtype}."
            )
