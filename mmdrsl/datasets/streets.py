"""Path-traced street blocks."""

from typing import ClassVar

from mmseg.registry import DATASETS

from mmdrsl.datasets.label_spaces import STREETS_TABLE, LabelTable
from mmdrsl.datasets.labeled import LabelledImageDataset


@DATASETS.register_module()
class StreetsDataset(LabelledImageDataset):
    """Rendered street blocks in the eleven classes of `street11`.

    `images/<name>.jpg` and `labels/<name>.png`, 8-bit with the class id; `ann_file` names a split. Arguments are those
    of `LabelledImageDataset`.
    """

    TABLE: ClassVar[LabelTable] = STREETS_TABLE
    LABEL_SPACE: ClassVar[str] = "street11"
    IMG_SUFFIX: ClassVar[str] = ".jpg"
