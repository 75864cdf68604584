"""GTA5 to train ids of Cityscapes, and to smaller images.

python tools/dataset_converters/gta5.py data/gta5 [--out DIR --height 526 --jpeg-quality 95] [--verify]

Without --out the labels go beside the published ones, as `*_labelTrainIds.png`, with the index files of DAFormer. With
--out a set of its own is made, whose images may be smaller. `GTA5TrainIdsDataset` reads either; its
`img_suffix` is '.jpg' where --jpeg-quality made the images.
An interrupted call continues.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from mmdrsl.datasets.conversion_command import run_converter
from mmdrsl.datasets.gta5 import GTA5Dataset


def main(arguments: Sequence[str] | None = None) -> int:
    """Convert; return the exit status."""
    return run_converter(GTA5Dataset, str(__doc__), arguments=arguments)


if __name__ == "__main__":
    sys.exit(main())
