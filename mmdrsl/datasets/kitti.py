"""KITTI."""

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, ClassVar

from mmengine.logging import print_log
from mmseg.registry import DATASETS

from mmdrsl.datasets.label_spaces import CITYSCAPES_TABLE, CITYSCAPES_TRAIN_ID_TABLE, LabelTable
from mmdrsl.datasets.labeled import TRAIN_ID_SUFFIX, LabelledImageDataset
from mmdrsl.datasets.unlabeled import UnlabelledDataset


@DATASETS.register_module()
class KITTIDataset(LabelledImageDataset):
    """KITTI semantics, the pixel-labeled images of KITTI 2015 (Alhaija et al., IJCV 2018).

    `training/image_2/` and `training/semantic/` hold PNG files of equal names; labels are 8-bit
    in Cityscapes label ids. Image sizes differ by a few pixels. Arguments are those of
    `LabelledImageDataset`.
    """

    TABLE: ClassVar[LabelTable] = CITYSCAPES_TABLE
    DATA_PREFIX: ClassVar[Mapping[str, str]] = {
        "img_path": "training/image_2",
        "seg_map_path": "training/semantic",
    }


@DATASETS.register_module()
class KITTITrainIdsDataset(KITTIDataset):
    """KITTI semantics with converted `training/semantic/*_labelTrainIds.png`.

    Arguments are those of `LabelledImageDataset`.
    """

    TABLE: ClassVar[LabelTable] = CITYSCAPES_TRAIN_ID_TABLE
    SEG_MAP_SUFFIX: ClassVar[str] = TRAIN_ID_SUFFIX


@DATASETS.register_module()
class KITTIRawDataset(UnlabelledDataset):
    """Drives of KITTI raw as an unlabeled target (Geiger et al., IJRR 2013).

    `<date>/<drive>_sync/<camera>/data/<frame>.png`. The labeled images of KITTI semantics were taken
    out of such drives: leave the drives that the development kit's mapping names out, where the
    labeled images are the evaluation.

    Args:
        every: Take every so many-th frame of a drive, since neighbors are alike (10 frames per second).
        cameras: Folders of the cameras; `image_02` is the left color camera.
        excluded_drives: Names of drives left out, such as `2011_09_26_drive_0005_sync`, whether they are there or
            not; the log says which are not.
        options: Arguments of `UnlabelledDataset`.

    Raises:
        ValueError: As `UnlabelledDataset`; if no frame is left, `every` is below 1, or an excluded drive is no name
            of a drive.
        FileNotFoundError: As `UnlabelledDataset`.
    """

    def __init__(
        self,
        *,
        every: int = 10,
        cameras: Sequence[str] = ("image_02",),
        excluded_drives: Sequence[str] = (),
        **options: Any,
    ) -> None:
        if every < 1:
            raise ValueError(f"every is {every}, expected 1 or more")
        unnamed = [
            name
            for name in excluded_drives
            if not re.fullmatch(r"\d{4}_\d\d_\d\d_drive_\d{4}_(sync|extract)", name)
        ]
        if unnamed:
            raise ValueError(
                f"excluded_drives has {unnamed}, expected names of folders such as 2011_09_26_drive_0005_sync"
            )
        self.every = every
        self.cameras = tuple(cameras)
        self.excluded_drives = frozenset(excluded_drives)
        super().__init__(**options)

    def find_files(self) -> tuple[str, list[str]]:
        """Find the frames of the chosen cameras, thinned out drive by drive.

        Returns:
            Folder of the images, and their paths relative to it.

        Raises:
            FileNotFoundError: As the class.
            ValueError: As the class.
        """
        img_dir, names = super().find_files()
        drives: dict[str, list[str]] = {}
        found = set()
        for name in names:
            *_, drive, camera, _, _ = ("", "", "", *PurePosixPath(name).parts)
            found.add(drive)
            if camera in self.cameras and drive not in self.excluded_drives:
                drives.setdefault(str(PurePosixPath(name).parent), []).append(name)
        absent = sorted(self.excluded_drives - found)
        if absent:
            print_log(
                f"{len(absent)} of {len(self.excluded_drives)} excluded drives are not in {img_dir}, such as "
                f"{absent[0]}",
                logger="current",
            )
        kept = [name for frames in drives.values() for name in frames[:: self.every]]
        if not kept:
            raise ValueError(
                f"no frame of the cameras {list(self.cameras)} among the {len(names)} images in {img_dir}: expected "
                "<date>/<drive>_sync/<camera>/data/<frame>.png"
            )
        return img_dir, kept
