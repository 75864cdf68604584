"""Draw training samples after their transforms: labels over images, source and target side by side.

python tools/analysis_tools/browse_dataset.py CONFIG [--num-images 8] [--out DIR] [--pseudo-labels DIR]
    [--cfg-options KEY=VALUE ...]

CONFIG is any config of mmdrsl or MMSegmentation with train_dataloader, also one of datasets only. --pseudo-labels names
a round's folder (<work dir>/pseudo_labels/round_<r>), whose labels are then drawn over the target.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS

import mmdrsl  # noqa: F401 - registers the datasets before a config is built
from mmdrsl.datasets.inspection.browse import save_pictures
from mmdrsl.datasets.inspection.config_domains import read_config
from mmdrsl.datasets.two_domain import TwoDomainDataset
from mmdrsl.engine.config_options import add_config_options, override


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Draw training samples")
    parser.add_argument("config", help="config file")
    parser.add_argument("--num-images", type=int, default=8, help="how many samples to draw")
    parser.add_argument("--seed", type=int, default=0, help="seed of choice and transforms")
    parser.add_argument("--out", type=Path, help="folder of the pictures")
    parser.add_argument("--pseudo-labels", help="folder of one labeling round")
    add_config_options(parser)
    return parser.parse_args()


def main() -> int:
    """Draw; return the exit status."""
    args = parse_args()
    try:
        cfg = read_config(args.config)
        override(cfg, args.cfg_options)
        init_default_scope(cfg.get("default_scope", "mmseg"))
        if "train_dataloader" not in cfg:
            raise ValueError("the config has no train_dataloader, whose samples are drawn")
        dataset = DATASETS.build(cfg.train_dataloader.dataset)
        if args.pseudo_labels is not None:
            if not isinstance(dataset, TwoDomainDataset) or "target" not in dataset.domains:
                raise ValueError("--pseudo-labels needs a TwoDomainDataset with a target")
            dataset.set_pseudo_labels(args.pseudo_labels)
        folder = args.out or Path("work_dirs", "browse_dataset", Path(args.config).stem)
        paths = save_pictures(dataset, folder, args.num_images, args.seed)
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"browse_dataset: {args.config}: {error}", file=sys.stderr)
        return 2
    print(f"{len(paths)} pictures in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
