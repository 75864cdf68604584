"""The interface of everything that translates an image, and the translators that need no training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from .functional import Picture, match_lab_statistics, swap_low_amplitudes


class Translator(ABC):
    """Translates one image at a time from the source look to the target look.

    A translation is a function of the image, its reference and the settings alone: it depends on no order, rank or
    random state, so that an export can be interrupted and split.
    """

    NEEDS_REFERENCE: ClassVar[bool]
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
            reference: Image of the target domain of any size; None where `NEEDS_REFERENCE` is False.

        Returns:
            The translated image, of the same shape and type.
        """


class FourierTranslator(Translator):
    """Fourier amplitude swap with one image of the target (FDA), see `swap_low_amplitudes`.

    Args:
        band: Relative half-size of the window of swapped frequencies, in [0, 0.5).
    """

    NEEDS_REFERENCE = True

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
    """Transfer of LAB colour statistics from one image of the target, see `match_lab_statistics`."""

    NEEDS_REFERENCE = True

    @property
    def settings(self) -> dict[str, Any]:
        """The name."""
        return {"translator": "lab"}

    def translate(self, image: Picture, reference: Picture | None = None) -> Picture:
        """Translate an image, see `Translator.translate`."""
        return match_lab_statistics(image, _required(reference))


def _required(reference: Picture | None) -> Picture:
    if reference is None:
        raise ValueError("This translator borrows from an image of the target; give a reference.")
    return reference
