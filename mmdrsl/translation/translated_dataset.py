"""A labeled data set whose images are partly or wholly replaced by translations."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from mmengine.registry import build_from_cfg
from mmseg.registry import DATASETS
from torch.utils.data import Dataset

from mmdrsl.datasets.labeled import LabelledImageDataset
from mmdrsl.datasets.validation import check_folder, find_images, header_size
from mmdrsl.translation.translated_folder import IMAGES

_SUFFIXES = (".png", ".jpg", ".jpeg")
_MAX_LISTED = 5


@DATASETS.register_module()
class TranslatedDataset(Dataset):
    """Draws each image as a translation or as the original; labels stay.

    Which of the two is drawn from NumPy's random state. `TwoDomainDataset` seeds that for every draw, so a run repeats
    and resumes with the same mixture.

    Args:
        dataset: Config of a `LabelledImageDataset`.
        translations: Folder of a translated set (with ``images/`` or without), or of a downloaded one; a file belongs
            to the image whose `sample_id` is its relative path without extension.
        probability: Probability of the translation, in [0, 1].
        check: Whether to compare the sizes of translations and originals by their headers.

    Raises:
        FileNotFoundError: The folder is missing, or images have no translation; the message lists them all.
        TypeError: `dataset` is no `LabelledImageDataset`.
        ValueError: `probability` is outside its range, two files belong to one image, or sizes differ.
    """

    def __init__(
        self,
        *,
        dataset: dict,
        translations: str,
        probability: float = 1.0,
        check: bool = True,
    ) -> None:
        if not 0 <= probability <= 1:
            raise ValueError(f"probability must be in [0, 1], found {probability}.")
        self.dataset = build_from_cfg(dataset, DATASETS)
        if not isinstance(self.dataset, LabelledImageDataset):
            raise TypeError(
                f"expected a LabelledImageDataset, whose samples have names, found {type(self.dataset).__name__}."
            )
        self.probability = probability
        self.folder = _image_folder(translations)
        self._files = _files_by_sample(self.folder)
        self._check_complete()
        if check:
            self._check_sizes()

    @property
    def metainfo(self) -> dict:
        """Classes and palette of the labeled data set."""
        return self.dataset.metainfo

    def __len__(self) -> int:
        return len(self.dataset)

    def full_init(self) -> None:
        """Nothing is put off; MMEngine's ConcatDataset asks for it."""
        self.dataset.full_init()

    def get_data_info(self, idx: int) -> dict[str, Any]:
        """One sample's dictionary with the original image, see `LabelledImageDataset.get_data_info`.

        Args:
            idx: Index of the sample.

        Returns:
            The dictionary.
        """
        return self.dataset.get_data_info(idx)

    def translation_path(self, sample_id: str) -> str:
        """Path of an image's translation.

        Args:
            sample_id: Relative path of the image without its ending.

        Returns:
            The path.
        """
        return str(self.folder / self._files[sample_id])

    def __getitem__(self, idx: int) -> Any:
        info = self.get_data_info(idx)
        # Drawn also where the outcome is certain, so that the transforms' own draws do not depend on the probability.
        if np.random.random() < self.probability:
            info["img_path"] = self.translation_path(info["sample_id"])
        packed = self.dataset.pipeline(info)
        if packed is None:
            raise ValueError(
                f"the pipeline dropped {info['img_path']}: every transform must return a sample"
            )
        return packed

    def _infos(self) -> list[dict[str, Any]]:
        return [self.get_data_info(index) for index in range(len(self))]

    def _check_complete(self) -> None:
        missing = [
            info["sample_id"] for info in self._infos() if info["sample_id"] not in self._files
        ]
        if missing:
            raise FileNotFoundError(
                f"{len(missing)} of {len(self)} images have no translation in {self.folder}; translate them with "
                "tools/translate_dataset.py, or leave them out with the dataset's ann_file:\n"
                + "\n".join(missing)
            )

    def _check_sizes(self) -> None:
        differing = []
        for info in self._infos():
            path = self.translation_path(info["sample_id"])
            found, expected = header_size(path), header_size(info["img_path"])
            if found != expected:
                differing.append(
                    f"{path} is {found[0]}x{found[1]}, {info['img_path']} {expected[0]}x{expected[1]}"
                )
        if differing:
            raise ValueError(
                f"{len(differing)} of {len(self)} translations have another size than their image (width x height), so "
                f"labels do not fit: {', '.join(differing[:_MAX_LISTED])}. Translate again at full size."
            )


def _image_folder(translations: str) -> Path:
    check_folder(translations, "translations")
    inside = Path(translations, IMAGES)
    return inside if inside.is_dir() else Path(translations)


def _files_by_sample(folder: Path) -> dict[str, str]:
    """File name by sample id."""
    found: dict[str, str] = {}
    for name in find_images(str(folder), _SUFFIXES):
        sample_id = PurePosixPath(name).with_suffix("").as_posix()
        if sample_id in found:
            raise ValueError(
                f"{found[sample_id]} and {name} in {folder} belong to the same image: remove one."
            )
        found[sample_id] = name
    return found
