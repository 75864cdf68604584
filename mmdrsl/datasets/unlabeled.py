"""Images without labels: the target domain of an adaptation."""

import os.path
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from mmdrsl.datasets.label_loading import check_own_loader
from mmdrsl.datasets.label_spaces import IGNORE_INDEX, get_label_space
from mmdrsl.datasets.left_out import IMAGE_SUFFIXES, warn_of_left_out_images
from mmdrsl.datasets.stock_options import check_stock_options
from mmdrsl.datasets.validation import check_folder, check_sizes, choose_folder, find_images

WHOLE_IMAGE_PIPELINE = (
    dict(type="LoadImage"),
    dict(type="PackSegInputs", meta_keys=("img_path", "ori_shape", "img_shape", "sample_id")),
)
"""Images as they are, for labeling and for statistics."""


@DATASETS.register_module()
class UnlabelledDataset(BaseSegDataset):
    """A folder of images, with sub-folders or without; label files are never opened.

    Images in the folder whose ending is not taken are counted in a warning.

    Each sample carries `img_path`, `sample_id` (relative path without extension),
    `pseudo_label_path` (None until `set_pseudo_labels`), `num_classes`, `seg_fields`, `label_map`
    (None) and `reduce_zero_label` (False). Files are local.

    Args:
        data_root: Folder of the dataset.
        label_space: The classes wanted, a key of `LABEL_SPACES` or a mapping, see `get_label_space`.
        data_prefix: Folder `img_path` below the root, or several alternatives of which the first
            that exists is used; None takes the root itself.
        ann_file: Text file below the root of one image per line, relative to the image folder,
            with or without extension; '' takes every image of the folder.
        img_suffix: End of image names; None takes those of `IMAGE_SUFFIXES`.
        pipeline: MMSegmentation transforms.
        test_mode: Whether a failing sample raises instead of being replaced by another.
        indices: Use only these samples, or this many first ones.
        serialize_data: Whether workers share one serialized sample list.
        lazy_init: Whether to put reading the sample list off.
        max_refetch: How often a sample that the pipeline drops is replaced.
        check: Whether to read every image's header when the sample list is read.
        metainfo: As stock datasets have it: None, or what the label space says.
        reduce_zero_label: As stock datasets have it: False, see `check_stock_options`.
        ignore_index: As stock datasets have it: 255.

    Raises:
        FileNotFoundError: If a folder, list file or image is missing.
        ValueError: If the label space is unknown, no image is found, two images differ only in
            their extension, a header is unreadable, or the pipeline reads labels with a loader of
            MMSegmentation.
    """

    def __init__(
        self,
        *,
        data_root: str,
        label_space: str | Mapping[str, Any] | Sequence[str] = "cityscapes19",
        data_prefix: Mapping[str, str | Sequence[str]] | None = None,
        ann_file: str = "",
        img_suffix: str | None = None,
        pipeline: Sequence[dict[str, Any] | Callable[..., Any]] = (),
        test_mode: bool = False,
        indices: int | Sequence[int] | None = None,
        serialize_data: bool = True,
        lazy_init: bool = False,
        max_refetch: int = 1000,
        check: bool = True,
        metainfo: Mapping[str, Any] | None = None,
        reduce_zero_label: bool = False,
        ignore_index: int = IGNORE_INDEX,
    ) -> None:
        self.label_space = get_label_space(label_space)
        check_stock_options(self.label_space, metainfo, reduce_zero_label, ignore_index)
        self._pseudo_label_root: str | None = None
        self._check = check
        prefix = {"img_path": ""} if data_prefix is None else dict(data_prefix)
        if set(prefix) != {"img_path"}:
            raise ValueError(
                f"data_prefix has the keys {sorted(prefix)}, expected only img_path: "
                "an unlabeled dataset reads no labels"
            )
        super().__init__(
            ann_file=ann_file,
            img_suffix=img_suffix,
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

    def set_pseudo_labels(self, root: str | None) -> None:
        """Say where samples find their pseudo labels from now on.

        Loader workers copy the dataset when they start, so call this before an iterator is made.

        Args:
            root: Folder of one labeling round, which holds `labels/<sample_id>.png`; None takes
                the pseudo labels away.

        Raises:
            FileNotFoundError: If `root` has no folder `labels`.
        """
        if root is not None:
            check_folder(os.path.join(root, "labels"), "the root of the pseudo labels")
        self._pseudo_label_root = root

    @property
    def image_suffixes(self) -> tuple[str, ...]:
        """Endings of the files that are taken, upper and lower case alike."""
        return IMAGE_SUFFIXES if self.img_suffix is None else (self.img_suffix,)

    def find_files(self) -> tuple[str, list[str]]:
        """Find the image files.

        Returns:
            Folder of the images, and their paths relative to it.

        Raises:
            FileNotFoundError: As the class.
            ValueError: As the class.
        """
        img_dir = self.data_prefix["img_path"]
        check_folder(img_dir, "data_prefix['img_path']")
        return img_dir, find_images(img_dir, self.image_suffixes, self.ann_file)

    def load_data_list(self) -> list[dict[str, Any]]:
        """List the images and check them.

        Returns:
            One dictionary per image.

        Raises:
            FileNotFoundError: As the class.
            ValueError: As the class.
        """
        check_folder(self.data_root, "data_root")
        img_dir, names = self.find_files()
        warn_of_left_out_images(self)
        sample_ids = [PurePosixPath(name).with_suffix("").as_posix() for name in names]
        repeated = [name for name, count in Counter(sample_ids).items() if count > 1]
        if repeated:
            raise ValueError(
                f"{len(repeated)} names in {img_dir} belong to more than one image, for instance "
                f"{repeated[0]}: pseudo labels go by the name, so rename images or set img_suffix"
            )
        images = [os.path.join(img_dir, name) for name in names]
        if self._check:
            check_sizes(images)
        return [
            {
                "img_path": image,
                "sample_id": sample_id,
                "num_classes": len(self.label_space.classes),
                "label_map": None,
                "reduce_zero_label": False,
                "seg_fields": [],
            }
            for image, sample_id in zip(images, sample_ids, strict=True)
        ]

    def get_data_info(self, idx: int) -> dict[str, Any]:
        """Get one sample's dictionary, with the path of its present pseudo label.

        Args:
            idx: Index of the sample.

        Returns:
            The dictionary that enters the pipeline.
        """
        data_info = super().get_data_info(idx)
        root = self._pseudo_label_root
        # Built here rather than stored, since the sample list is serialized only once.
        data_info["pseudo_label_path"] = (
            None if root is None else os.path.join(root, "labels", data_info["sample_id"] + ".png")
        )
        return data_info
