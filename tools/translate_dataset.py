"""Translate all source images of a config to the look of its target.

python tools/translate_dataset.py CONFIG fourier --out DIR [--band 0.01]  # FDA: Fourier amplitude swap
python tools/translate_dataset.py CONFIG lab --out DIR                    # LAB color statistics
python tools/translate_dataset.py CONFIG CHECKPOINT --out DIR             # a trained translator of configs/translation

The first two take any config with a source and a target and need no training. With --keep-lightness any of them gives
its colors alone, for a target whose exposure is far from the source's. DIR holds images/<name>.png of the original
size and manifest.json with the hashes; `TranslatedDataset` reads it. Started again after an interruption the tool
picks up where it stopped. --tile splits images that are too large for the memory, with the same result. --launcher
pytorch shares the images out among the ranks.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from mmengine.config import Config
from mmengine.dist import init_dist, is_distributed, is_main_process
from mmengine.registry import init_default_scope

import mmdrsl  # noqa: F401 - registers everything before a config is built
from mmdrsl.datasets.inspection.config_domains import datasets_of
from mmdrsl.engine.config_options import add_config_options, override
from mmdrsl.engine.launch import (
    add_trust_option,
    join_cpu_process_group,
    read_config,
    run_tool,
)
from mmdrsl.engine.tool_end import writing
from mmdrsl.translation.export import translate_images
from mmdrsl.translation.generator_translator import load_generator
from mmdrsl.translation.translators import (
    ColorTranslator,
    FourierTranslator,
    LabTranslator,
    Translator,
)


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="config with the source and target images")
    parser.add_argument("translator", help="fourier, lab, or the checkpoint of a translator")
    parser.add_argument("--out", type=Path, required=True, help="folder of the translated set")
    parser.add_argument("--band", type=float, help="fourier: relative half-size, by default 0.01")
    parser.add_argument(
        "--keep-lightness", action="store_true", help="translate the colors alone, keep lightness"
    )
    parser.add_argument(
        "--tile", type=int, help="generator: side of tiles; by default whole images"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the choice of target images")
    parser.add_argument("--jpeg-quality", type=int, help="write JPEG, 1..100; by default PNG")
    add_config_options(parser)
    parser.add_argument(
        "--launcher", choices=["none", "pytorch", "slurm", "mpi"], default="none", help="launcher"
    )
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0)
    add_trust_option(parser)
    args = parser.parse_args()
    if args.jpeg_quality is not None and not 1 <= args.jpeg_quality <= 100:
        parser.error(f"--jpeg-quality must be in 1..100, found {args.jpeg_quality}")
    if args.seed < 0:
        parser.error(f"--seed must not be negative, found {args.seed}")
    if args.tile is not None and (args.tile <= 0 or args.tile % 4):
        parser.error(f"--tile must be a positive multiple of 4, found {args.tile}")
    if args.band is not None and args.translator != "fourier":
        parser.error(f"--band is an option of fourier, found it with {args.translator}")
    if args.tile is not None and args.translator in ("fourier", "lab"):
        parser.error(f"--tile is an option of trained translators, found it with {args.translator}")
    return args


def build_translator(cfg: Config, args: argparse.Namespace) -> Translator:
    """Build what the command line names."""
    translator = named_translator(cfg, args)
    return ColorTranslator(translator) if args.keep_lightness else translator


def named_translator(cfg: Config, args: argparse.Namespace) -> Translator:
    """Build the translator by its name or checkpoint."""
    if args.translator == "fourier":
        return FourierTranslator() if args.band is None else FourierTranslator(band=args.band)
    if args.translator == "lab":
        return LabTranslator()
    if not Path(args.translator).is_file():
        raise FileNotFoundError(
            f"{args.translator} is neither a file nor a translator without training: expected fourier, lab or the "
            "checkpoint of a translator."
        )
    return load_generator(cfg, args.translator, tile_size=args.tile)


def images_of(cfg: Config, domain: str) -> dict[str, Path]:
    """Image file by sample id of all datasets of a domain."""
    found: dict[str, Path] = {}
    for dataset in datasets_of(cfg).get(domain, []):
        dataset.full_init()
        for index in range(len(dataset)):
            info = dataset.get_data_info(index)
            if info["sample_id"] in found:
                raise ValueError(
                    f"Two images of the {domain} are named {info['sample_id']}: {found[info['sample_id']]} and "
                    f"{info['img_path']}. Translate their datasets one by one."
                )
            found[info["sample_id"]] = Path(info["img_path"])
    if not found:
        raise ValueError(f"The config has no {domain} images in train_dataloader.dataset.{domain}.")
    return found


def main() -> None:
    """Translate what is not there yet."""
    args = parse_args()
    os.environ.setdefault("LOCAL_RANK", str(args.local_rank))
    cfg = read_config(args.config)
    override(cfg, args.cfg_options)
    with writing(args.out, tool="translate", launcher=args.launcher):
        join_cpu_process_group(args.launcher)
        if args.launcher != "none" and not is_distributed():
            init_dist(args.launcher, **cfg.get("env_cfg", {}).get("dist_cfg", {}))
        init_default_scope(cfg.get("default_scope", "mmseg"))
        translator = build_translator(cfg, args)
        images = images_of(cfg, "source")
        kept = translate_images(
            images=images,
            references=images_of(cfg, "target") if translator.needs_reference else {},
            translator=translator,
            out=args.out,
            seed=args.seed,
            jpeg_quality=args.jpeg_quality,
        )
        if is_main_process():
            print(f"{args.out}: {len(images)} images, {kept} of them were there already")


if __name__ == "__main__":
    run_tool("translate", main)
