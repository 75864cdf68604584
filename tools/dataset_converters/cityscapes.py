"""Cityscapes to train ids, and to smaller images.

python tools/dataset_converters/cityscapes.py data/cityscapes [--out DIR --height 526 --jpeg-quality 95] [--verify]

Without --out the labels go beside the published ones, as `*_labelTrainIds.png`, with the index files of DAFormer. With
--out a set of its own is made, whose images may be smaller. `CityscapesTrainIdsDataset` reads either; its
`img_suffix` is '_leftImg8bit.jpg' where --jpeg-quality made the images.
An interrupted call continues.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from mmdrsl.datasets.cityscapes import CityscapesLabelIdsDataset
from mmdrsl.datasets.conversion_command import run_converter

SPLITS = [
    {"img_path": f"leftImg8bit/{split}", "seg_map_path": f"gtFine/{split}"}
    for split in ("train", "val")
]


def main(arguments: Sequence[str] | None = None) -> int:
    """Convert; return the exit status."""
    return run_converter(CityscapesLabelIdsDataset, str(__doc__), SPLITS, arguments)


if __name__ == "__main__":
    sys.exit(main())
