"""From the drawn world to a picture: a game's renderer and a car's camera."""

from __future__ import annotations

import cv2
import numpy as np

from mmdrsl.scenes.world import Weather

#: Light in the far haze, linear red-green-blue in 0..1, by sub-type of the sky.
_HAZE_LIGHT = {
    "blue": (0.66, 0.74, 0.82),
    "overcast": (0.72, 0.73, 0.73),
    "dusk": (0.72, 0.55, 0.48),
}
#: Color of the daylight, as linear gains, by sub-type of the sky.
_DAYLIGHT = {
    "blue": (1.05, 1.0, 0.93),
    "overcast": (0.95, 1.0, 1.04),
    "dusk": (0.86, 0.68, 0.64),
}


def game_look(
    color: np.ndarray, distance: np.ndarray, weather: Weather, rng: np.random.Generator
) -> np.ndarray:
    """A game's picture: saturated, contrasted, clean, with bloom.

    Args:
        color: Array (height, width, 3), uint8, red-green-blue, of the drawn world.
        distance: Array (height, width), float32, meters.
        weather: Sky and light.
        rng: Source of randomness; advanced.

    Returns:
        Array (height, width, 3), uint8, red-green-blue.
    """
    image = color.astype(np.float32) / 255
    image *= np.array(_DAYLIGHT[weather.sky], dtype=np.float32) ** 0.5
    clearness = np.exp(-distance / rng.uniform(350, 700))[..., None]
    haze = np.array(_HAZE_LIGHT[weather.sky], dtype=np.float32)
    image = image * clearness + haze * (1 - clearness)
    image = _saturate(image, rng.uniform(1.05, 1.2))
    image = 0.46 + (image - 0.46) * rng.uniform(1.02, 1.12)
    image *= rng.uniform(0.95, 1.1)
    bright = np.clip(image - 0.72, 0, None)
    image += rng.uniform(0.2, 0.6) * cv2.GaussianBlur(bright, (0, 0), image.shape[1] / 80)
    return _to_bytes(image)


def camera_look(
    color: np.ndarray, distance: np.ndarray, weather: Weather, rng: np.random.Generator
) -> np.ndarray:
    """A dashboard camera's picture of the same world.

    Light passes haze, glare, lens (vignette, blur), sensor (white balance, exposure, noise), tone
    curve and lossy compression, in this order; every picture draws its own settings.

    Args:
        color: Array (height, width, 3), uint8, red-green-blue, of the drawn world.
        distance: Array (height, width), float32, meters.
        weather: Sky and light.
        rng: Source of randomness; advanced.

    Returns:
        Array (height, width, 3), uint8, red-green-blue.
    """
    height, width = distance.shape
    light = (color.astype(np.float32) / 255) ** 2.2
    light *= np.array(_DAYLIGHT[weather.sky], dtype=np.float32)
    clearness = np.exp(-distance / rng.uniform(200, 700))[..., None]
    haze = np.array(_HAZE_LIGHT[weather.sky], dtype=np.float32) * rng.uniform(0.75, 1.0)
    light = light * clearness + haze * (1 - clearness)
    light += haze * _glare(rng, height, width, weather)[..., None]
    light *= _vignette(rng, height, width)[..., None]
    light = cv2.GaussianBlur(light, (0, 0), rng.uniform(0.4, 0.75) * width / 256)
    balance = np.array([rng.normal(0.94, 0.05), 1.0, rng.normal(0.87, 0.06)], dtype=np.float32)
    light *= balance * np.exp2(rng.normal(0.3, 0.33))
    light = _saturate(light, rng.uniform(0.55, 0.9))
    # Shot noise grows with the square root of the light, read noise does not depend on it.
    spread = np.sqrt(rng.uniform(0.0002, 0.0009) * np.maximum(light, 0) + 0.00002)
    light += spread * rng.standard_normal(light.shape, dtype=np.float32)
    image = np.clip(light, 0, None)
    image = image * (1 + image / 1.4) / (1 + image)
    image = image ** (1 / rng.uniform(1.8, 2.3)) * rng.uniform(0.9, 1.0)
    # Cameras steepen the middle of their tone curve, which wins back contrast lost to haze.
    image = 0.46 + (image - 0.47) * rng.uniform(0.95, 1.25)
    return compressed(_to_bytes(image), int(rng.integers(55, 88)))


def _saturate(image: np.ndarray, factor: float) -> np.ndarray:
    """Move colors away from (above one) or toward (below one) their gray."""
    gray = image @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    return gray[..., None] + (image - gray[..., None]) * np.float32(factor)


def _glare(rng: np.random.Generator, height: int, width: int, weather: Weather) -> np.ndarray:
    """Veil of stray light (height, width) around a low or hidden sun."""
    center = (rng.uniform(-0.2, 1.2) * width, rng.uniform(-0.2, 0.3) * height)
    reach = rng.uniform(0.25, 0.6) * width
    strength = rng.uniform(0.0, 0.35) if weather.sky != "overcast" else rng.uniform(0.0, 0.12)
    across = np.exp(-(((np.arange(width) - center[0]) / reach) ** 2))
    down = np.exp(-(((np.arange(height) - center[1]) / reach) ** 2))
    return (strength * down[:, None] * across[None, :]).astype(np.float32)


def _vignette(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Fall-off of the light (height, width) toward the corners."""
    strength = rng.uniform(0.2, 0.5)
    across = (np.arange(width) / width - 0.5) * 2
    down = (np.arange(height) / height - 0.5) * 2
    radius = (across[None, :] ** 2 + down[:, None] ** 2) / 2
    return (1 - strength * radius).astype(np.float32)


def compressed(image: np.ndarray, quality: int) -> np.ndarray:
    """Image after a JPEG round trip."""
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), dtype=np.uint8)
    return np.ascontiguousarray(decoded[..., ::-1])


def _to_bytes(image: np.ndarray) -> np.ndarray:
    return np.clip(np.round(image * 255), 0, 255).astype(np.uint8)
