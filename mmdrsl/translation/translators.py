"""The interface of everything that translates an image, and the translators that need no training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from mmdrsl.translation.functional import (
    Picture,
    keep_lightness,
    match_lab_statistics,
    swap_low_amplitudes,
)


class Translator(ABC):
    """Translates one image at a time from the source look to the target look.

    A translation is a function of the image, its reference and the settings alone: it depends on no order, rank or
    random state, so that an export can be interrupted and split.
    """

    needs_reference: bool
    """Whether a translation borrows from an image of the target."""

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What decides the result, in JSON types; part of a translated set's manifest."""

    @abstractmethod
    def translate(self, image: Picture, reference: Picture | None = None) -> Picture:
        """Translate an image.

        Args:
            image: Blue, green, red of 8 bits, shape (H, W, 3).
            reference: Image of the target domain of any size; None where `needs_reference` is False.

        Returns:
            The translated image, of the same shape and type.
        """


class FourierTranslator(Translator):
    """Fourier amplitude swap with one image of the target (FDA), see `swap_low_amplitudes`.

    Args:
        band: Relative half-size of the window of swapped frequencies, in [0, 0.5).
    """

    needs_reference = True

    def __init__(self, *, band: float = 0.01) -> None:
        if not 0 <= band < 0.5:
            raise ValueError(f"band must be in [0, 0.5), found {band}.")
        self.band = band

    @property
    def settings(self) -> dict[str, Any]:
        """Name and band."""
        return {"translator": "fourier", "band": self.band}

    def translate(self, image: Picture, reference: Picture | None = None) -> Picture:
        """Translate an image, see `Translator.translate`."""
        return swap_low_amplitudes(image, _required(reference), self.band)


class LabTranslator(Translator):
    """Transfer of LAB color statistics from one image of the target, see `match_lab_statistics`."""

    needs_reference = True

    @property
    def settings(self) -> dict[str, Any]:
        """The name."""
        return {"translator": "lab"}

    def translate(self, image: Picture, reference: Picture | None = None) -> Picture:
        """Translate an image, see `Translator.translate`."""
        return match_lab_statistics(image, _required(reference))


class ColorTranslator(Translator):
    """Another translator's colors on the original's lightness, see `keep_lightness`.

    For targets whose exposure is far from the source's; what it gains and loses is measured in docs/translation.md.

    Args:
        translator: The translator that gives the colors.
    """

    def __init__(self, translator: Translator) -> None:
        self.translator = translator
        self.needs_reference = translator.needs_reference

    @property
    def settings(self) -> dict[str, Any]:
        """Those of the other translator, and what is kept."""
        return {**self.translator.settings, "keep_lightness": True}

    def translate(self, image: Picture, reference: Picture | None = None) -> Picture:
        """Translate an image, see `Translator.translate`."""
        return keep_lightness(self.translator.translate(image, reference), image)


def _required(reference: Picture | None) -> Picture:
    if reference is None:
        raise ValueError("This translator borrows from an image of the target; give a reference.")
    return reference
