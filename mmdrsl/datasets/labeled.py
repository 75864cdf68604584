"""The base of all datasets whose images come with label files."""

import os.path
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from mmdrsl.datasets.file_patterns import FilePatterns
from mmdrsl.datasets.label_loading import check_own_loader
from mmdrsl.datasets.label_spaces import (
    CITYSCAPES_RENAMES,
    CITYSCAPES_TRAIN_ID_TABLE,
    IGNORE_INDEX,
    LabelTable,
    build_lookup,
    get_label_space,
)
from mmdrsl.datasets.left_out import warn_of_left_out_images
from mmdrsl.datasets.stock_options import check_stock_options
from mmdrsl.datasets.validation import (
    check_folder,
    check_label_ids,
    check_labels_exist,
    check_sizes,
    choose_folder,
    files_below,
    find_images,
)

TRAIN_ID_SUFFIX = "_labelTrainIds.png"
"""End of the names of labels in train ids, as the converters of Cityscapes and DAFormer write them."""


@DATASETS.register_module()
class LabelledImageDataset(BaseSegDataset):
    """Images and labels in two folders, paired by relative path and suffix.

    Sub-folders are searched, so published and flat layouts both work. Label files keep their
    published ids; `LoadLabels` turns them into the train ids of the label space. Used as it is,
    the class reads `images/` and `labels/` with 8-bit labels in Cityscapes train ids. A new dataset
    is a subclass that names its table, renames and layout. Files are local.

    Each sample carries `img_path`, `seg_map_path`, `sample_id` (relative path without extension),
    `label_lookup` (see `build_lookup`), `label_channel`, `seg_fields`, `label_map` (None) and
    `reduce_zero_label` (False).

    Args:
        data_root: Folder of the dataset.
        label_space: The classes wanted, a key of `LABEL_SPACES` or a mapping, see `get_label_space`;
            None takes the dataset's usual ones.
        table: What takes the place of the dataset's `TABLE`: a mapping, or the path of a JSON file,
            see `LabelTable.load`.
        renames: Raw class name to class of the label space, or to None for ignored, in addition
            to the dataset's own `RENAMES`. Those that were written for another table count as far as
            the present one has their names.
        data_prefix: Folders `img_path` and `seg_map_path` below the root (or several alternatives
            each, of which the first that exists is used), where they differ from
            the dataset's usual ones.
        ann_file: Text file below the root of one image per line, relative to the image folder,
            with or without extension; '' takes every image of the folder.
        img_suffix: End of image names; None takes the dataset's usual one.
        seg_map_suffix: What takes its place in label names; None takes the dataset's usual one.
        file_patterns: Names of images (`img_path`) and labels (`seg_map_path`), see `FilePatterns`,
            in place of both suffixes.
        pipeline: MMSegmentation transforms.
        test_mode: Whether a failing sample raises instead of being replaced by another.
        indices: Use only these samples, or this many first ones.
        serialize_data: Whether workers share one serialized sample list.
        lazy_init: Whether to put reading the sample list off.
        max_refetch: How often a sample that the pipeline drops is replaced.
        check: Whether to compare the sizes of all images and labels by their headers and to read a
            few labels when the sample list is read. Existence is checked always.
        check_sample: How many labels that check reads, chosen with a fixed seed.
        metainfo: As stock datasets have it: None, or what the label space says.
        reduce_zero_label: As stock datasets have it: False, see `check_stock_options`.
        ignore_index: As stock datasets have it: 255.

    Raises:
        FileNotFoundError: If a folder, list file, image or label is missing.
        ValueError: If the label space or a raw class name is unknown, no image is found, an image
            would be its own label, a header is unreadable, sizes differ, an image is turned by its
            EXIF orientation, a label read holds unknown ids, or the pipeline reads labels with a loader of
            MMSegmentation.
    """

    TABLE: ClassVar[LabelTable] = CITYSCAPES_TRAIN_ID_TABLE
    """Raw ids and class names of the label files."""
    RENAMES: ClassVar[Mapping[str, Mapping[str, str | None]]] = CITYSCAPES_RENAMES
    """By label space: raw name to class name, or to None for ignored; written for the `TABLE` of the same class."""
    LABEL_SPACE: ClassVar[str] = "cityscapes19"
    IMG_SUFFIX: ClassVar[str] = ".png"
    SEG_MAP_SUFFIX: ClassVar[str] = ".png"
    FILE_PATTERNS: ClassVar[Mapping[str, str] | None] = None
    DATA_PREFIX: ClassVar[Mapping[str, str]] = {"img_path": "images", "seg_map_path": "labels"}

    def __init__(
        self,
        *,
        data_root: str,
        label_space: str | Mapping[str, Any] | Sequence[str] | None = None,
        table: str | Mapping[str, Any] | None = None,
        renames: Mapping[str, str | None] | None = None,
        data_prefix: Mapping[str, str | Sequence[str]] | None = None,
        ann_file: str = "",
        img_suffix: str | None = None,
        seg_map_suffix: str | None = None,
        file_patterns: Mapping[str, str] | None = None,
        pipeline: Sequence[dict[str, Any] | Callable[..., Any]] = (),
        test_mode: bool = False,
        indices: int | Sequence[int] | None = None,
        serialize_data: bool = True,
        lazy_init: bool = False,
        max_refetch: int = 1000,
        check: bool = True,
        check_sample: int = 8,
        metainfo: Mapping[str, Any] | None = None,
        reduce_zero_label: bool = False,
        ignore_index: int = IGNORE_INDEX,
    ) -> None:
        self.label_space = get_label_space(self.LABEL_SPACE if label_space is None else label_space)
        check_stock_options(self.label_space, metainfo, reduce_zero_label, ignore_index)
        self.table = self.TABLE if table is None else LabelTable.load(table)
        all_renames = {**self._own_renames(), **(renames or {})}
        self._patterns = self._choose_patterns(file_patterns, img_suffix, seg_map_suffix)
        if self._patterns is not None:
            img_suffix, seg_map_suffix = self._patterns.suffixes
        self._label_lookup = build_lookup(self.table, self.label_space, all_renames)
        self._check = check
        self._check_sample = check_sample
        prefix = {**self.DATA_PREFIX, **(data_prefix or {})}
        if set(prefix) != set(LabelledImageDataset.DATA_PREFIX):
            raise ValueError(
                f"data_prefix has the keys {sorted(prefix)}, expected only img_path and "
                "seg_map_path: remove the others"
            )
        super().__init__(
            ann_file=ann_file,
            img_suffix=self.IMG_SUFFIX if img_suffix is None else img_suffix,
            seg_map_suffix=self.SEG_MAP_SUFFIX if seg_map_suffix is None else seg_map_suffix,
            metainfo={
                "classes": self.label_space.classes,
                "palette": [list(color) for color in self.label_space.palette],
            },
            data_root=data_root,
            data_prefix={key: choose_folder(data_root, value) for key, value in prefix.items()},
            indices=indices,
            serialize_data=serialize_data,
            pipeline=list(pipeline),
            test_mode=test_mode,
            lazy_init=lazy_init,
            max_refetch=max_refetch,
            ignore_index=IGNORE_INDEX,
            reduce_zero_label=False,
        )
        check_own_loader(self)

    def _own_renames(self) -> dict[str, str | None]:
        """`RENAMES`; of those that were written for another table, what the present one has."""
        author: Any = next(kind for kind in type(self).__mro__ if "RENAMES" in vars(kind))
        renames = self.RENAMES.get(self.label_space.name, {})
        if author.TABLE is self.table:
            return dict(renames)
        names = set(self.table.ids.values())
        return {raw: name for raw, name in renames.items() if raw in names}

    def _choose_patterns(
        self,
        file_patterns: Mapping[str, str] | None,
        img_suffix: str | None,
        seg_map_suffix: str | None,
    ) -> FilePatterns | None:
        """The patterns given or the dataset's usual ones, which exclude suffixes."""
        patterns = self.FILE_PATTERNS if file_patterns is None else file_patterns
        if patterns is None:
            return None
        if img_suffix is not None or seg_map_suffix is not None:
            raise ValueError(
                f"{type(self).__name__} goes by file_patterns {dict(patterns)}: give patterns with other endings in "
                "place of img_suffix and seg_map_suffix"
            )
        return FilePatterns(patterns)

    @property
    def label_format(self) -> dict[str, Any]:
        """What `LoadLabels` needs to read any label of the dataset: ``label_lookup`` and ``label_channel``."""
        return {"label_lookup": self._label_lookup, "label_channel": self.table.storage}

    def label_name(self, name: str) -> str | None:
        """Name of the label that belongs to an image, both relative to their folders.

        Args:
            name: Name of an image file.

        Returns:
            The label's name; None where the file is none of the dataset's images.
        """
        if self._patterns is not None:
            return self._patterns.label_name(name)
        return name[: -len(self.img_suffix)] + self.seg_map_suffix

    def image_name(self, label: str) -> str | None:
        """Name of the image that a label belongs to: the inverse of `label_name`.

        Args:
            label: Name of any file below the label folder.

        Returns:
            The image's name, existing or not; None where the file is none of the dataset's labels.
        """
        # Conversions put train ids beside the published labels.
        converted = label.endswith(TRAIN_ID_SUFFIX) and not self.seg_map_suffix.endswith(
            TRAIN_ID_SUFFIX
        )
        if converted or not label.lower().endswith(self.seg_map_suffix.lower()):
            return None
        if self._patterns is not None:
            return self._patterns.image_name(label)
        return label[: -len(self.seg_map_suffix)] + self.img_suffix

    def pair_files(self) -> tuple[list[str], list[str], list[str]]:
        """List the images with the labels that belong to them; the labels may be missing.

        Returns:
            Image paths relative to their folder, image paths, label paths.

        Raises:
            FileNotFoundError: If a folder, list file or image is missing.
            ValueError: If no image is found, a listed one is none of the dataset's, or an image would be its own
                label.
        """
        check_folder(self.data_root, "data_root")
        img_dir, label_dir = self.data_prefix["img_path"], self.data_prefix["seg_map_path"]
        check_folder(img_dir, "data_prefix['img_path']")
        found = find_images(img_dir, [self.img_suffix], self.ann_file)
        check_folder(label_dir, "data_prefix['seg_map_path']")
        pairs = {name: self.label_name(name) for name in found}
        names = [name for name, label in pairs.items() if label is not None]
        if not names or (self.ann_file and len(names) < len(found)):
            strange = next(name for name, label in pairs.items() if label is None)
            raise ValueError(
                f"{len(found) - len(names)} of {len(found)} images in {img_dir} are none of {type(self).__name__}, for "
                f"instance {strange}: correct the dataset's options, file_patterns, or the list"
            )
        images = [os.path.join(img_dir, name) for name in names]
        labels = self._labels_as_spelled(label_dir, [str(pairs[name]) for name in names])
        own = [image for image, label in zip(images, labels, strict=True) if image == label]
        if own:
            raise ValueError(
                f"{own[0]} would be its own label: images and labels are in one folder with one ending; give "
                "data_prefix, seg_map_suffix, or file_patterns such as "
                "dict(img_path='rgb/*.png', seg_map_path='seg/*.png')"
            )
        return names, images, labels

    def _labels_as_spelled(self, folder: str, labels: list[str]) -> list[str]:
        """Paths of labels, whose endings may be in upper or lower case, like those of images."""
        paths = [os.path.join(folder, label) for label in labels]
        if all(Path(path).is_file() for path in paths):
            return paths
        end = len(self.seg_map_suffix)
        spelled = {name[:-end] + name[-end:].lower(): name for name in files_below(folder)}
        return [
            path
            if Path(path).is_file()
            else os.path.join(folder, spelled.get(label[:-end] + label[-end:].lower(), label))
            for path, label in zip(paths, labels, strict=True)
        ]

    def load_data_list(self) -> list[dict[str, Any]]:
        """Pair images and labels and check them.

        Returns:
            One dictionary per pair.

        Raises:
            FileNotFoundError: As the class.
            ValueError: As the class.
        """
        names, images, labels = self.pair_files()
        check_labels_exist(images, labels)
        warn_of_left_out_images(self)
        if self._check:
            check_sizes(images, labels)
            check_label_ids(labels, self._label_lookup, self.table.storage, self._check_sample)
        return [
            {
                "img_path": image,
                "seg_map_path": label,
                "sample_id": PurePosixPath(name).with_suffix("").as_posix(),
                "label_map": None,
                "reduce_zero_label": False,
                "seg_fields": [],
            }
            for name, image, label in zip(names, images, labels, strict=True)
        ]

    def get_data_info(self, idx: int) -> dict[str, Any]:
        """Get one sample's dictionary, with what `LoadLabels` needs.

        Args:
            idx: Index of the sample.

        Returns:
            The dictionary that enters the pipeline.
        """
        data_info = super().get_data_info(idx)
        # Added here rather than stored, since every sample shares one lookup.
        return {**data_info, **self.label_format}
