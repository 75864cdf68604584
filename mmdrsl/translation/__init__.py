"""Images translated between the domains: translators, export, and the data set that reads what they made.

Nothing here needs MMagic; `mmdrsl.translation.cycada` does, and is imported by its configs alone.
"""

from .export import translate_images
from .functional import keep_lightness, match_lab_statistics, swap_low_amplitudes
from .sample_sheet_hook import SampleSheetHook
from .translated_dataset import TranslatedDataset
from .translated_folder import TranslatedFolder, TranslatedImage
from .translators import ColorTranslator, FourierTranslator, LabTranslator, Translator
from .unpaired import UnpairedDataPreprocessor, UnpairedSampler

__all__ = [
    "ColorTranslator",
    "FourierTranslator",
    "LabTranslator",
    "SampleSheetHook",
    "TranslatedDataset",
    "TranslatedFolder",
    "TranslatedImage",
    "Translator",
    "UnpairedDataPreprocessor",
    "UnpairedSampler",
    "keep_lightness",
    "match_lab_statistics",
    "swap_low_amplitudes",
    "translate_images",
]
