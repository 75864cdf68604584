"""Measure what a translation did to the source images of a config.

python tools/analysis_tools/evaluate_translation.py CONFIG CHECKPOINT TRANSLATIONS [--out work_dirs/translation_audit]

CONFIG and CHECKPOINT are the segmentor that judges. Trained on the target (configs/oracle) it says whether translations
look more like the target: its scores on translated images against those on the originals. Trained on the source
(configs/source_only) its agreement before and after says whether the content stayed. Prints both, and the distances of
colors and spectrum to the target; writes audit.json and sheet.jpg with the images whose content changed most:
original, translation, label, prediction before, prediction after, and what changed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS
from prettytable import PrettyTable
from tqdm import tqdm

import mmdrsl  # noqa: F401 - registers everything before a config is built
from mmdrsl.datasets.transforms.loading import LoadImage, LoadLabels
from mmdrsl.engine.config_options import add_config_options, override
from mmdrsl.engine.launch import add_trust_option, read_config, run_tool
from mmdrsl.translation.audit import AuditedImage, audit_translation, changed_pixels
from mmdrsl.translation.translated_dataset import TranslatedDataset
from mmdrsl.visualization.colors import color_labels
from mmdrsl.visualization.mode_maps import load_model

GAP = 4


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="config of the segmentor, with source_dataset")
    parser.add_argument("checkpoint", help="its checkpoint")
    parser.add_argument("translations", help="folder of the translated source images")
    parser.add_argument("--out", type=Path, default=Path("work_dirs/translation_audit"))
    parser.add_argument("--num-images", type=int, help="audit this many images, evenly spread")
    parser.add_argument("--num-rows", type=int, default=6, help="rows of the sheet")
    add_config_options(parser)
    add_trust_option(parser)
    args = parser.parse_args()
    for name in ("num_images", "num_rows"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1")
    return args


class Predictor:
    """Predicts class ids of an image with the config's test pipeline, at the image's own size."""

    def __init__(self, cfg: Config, model: Any) -> None:
        steps = [
            step for step in cfg.test_pipeline if step["type"] not in ("LoadImage", "LoadLabels")
        ]
        self.pipeline = Compose(
            [dict(step, meta_keys=("ori_shape", "img_shape", "pad_shape", "scale_factor"))
             if step["type"] == "PackSegInputs" else dict(step) for step in steps]
        )  # fmt: skip
        self.model = model

    @torch.no_grad()
    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Class ids (H, W) of an image, blue, green, red of 8 bits."""
        packed = self.pipeline(
            dict(img=image, img_shape=image.shape[:2], ori_shape=image.shape[:2], seg_fields=[])
        )
        (result,) = self.model.test_step(pseudo_collate([packed]))
        return result.pred_sem_seg.data[0].cpu().numpy()


def load_picture(path: str) -> np.ndarray:
    """Load an image as blue, green, red of 8 bits."""
    return LoadImage().transform({"img_path": path})["img"]


def audited_images(dataset: TranslatedDataset, indices: Sequence[int]) -> Iterator[AuditedImage]:
    """Load images, translations and labels one by one."""
    for index in indices:
        info = LoadLabels().transform(LoadImage().transform(dataset.get_data_info(index)))
        yield AuditedImage(
            sample_id=info["sample_id"],
            original=info["img"],
            translation=load_picture(dataset.translation_path(info["sample_id"])),
            labels=info["gt_seg_map"],
        )


def spread(length: int, count: int | None) -> list[int]:
    """Indices of `count` elements evenly spread over `length`; all of them where None."""
    if count is None or count >= length:
        return list(range(length))
    return [int(index) for index in np.linspace(0, length - 1, count).round()]


def draw_sheet(
    images: Iterator[AuditedImage], predict: Predictor, palette: Sequence, height: int = 160
) -> np.ndarray:
    """One row per image: original, translation, label, prediction before and after, and what changed; BGR."""
    rows = []
    for image in images:
        before, after = predict(image.original), predict(image.translation)
        maps = [
            color_labels(labels, palette)[..., ::-1]
            for labels in (image.labels, before, after, changed_pixels(before, after))
        ]
        width = round(image.original.shape[1] * height / image.original.shape[0])
        space = np.full((height, GAP, 3), 255, np.uint8)
        row = []
        for number, picture in enumerate((image.original, image.translation, *maps)):
            interpolation = cv2.INTER_AREA if number < 2 else cv2.INTER_NEAREST
            row += [
                cv2.resize(
                    np.ascontiguousarray(picture), (width, height), interpolation=interpolation
                ),
                space,
            ]
        rows.append(np.hstack(row))
    width = max(row.shape[1] for row in rows)
    return np.vstack([np.pad(row, ((0, GAP), (0, width - row.shape[1]), (0, 0))) for row in rows])


def print_report(report: dict[str, Any]) -> None:
    """Print scores, agreement and distances."""
    table = PrettyTable(["", "original", "translated"])
    table.float_format = ".2"
    for name in ("mIoU", "pixel_accuracy"):
        table.add_row([name, report["original"][name], report["translated"][name]])
    for name, value in report["original"]["IoU"].items():
        table.add_row([f"IoU {name}", value, report["translated"]["IoU"][name]])
    for name in ("mean", "deviation", "spectrum"):
        pair = [report["distance_to_target"][kind][name] for kind in ("original", "translated")]
        table.add_row([f"distance to target: {name}", *pair])
    print(table)
    print(f"same prediction before and after: {report['agreement']:.2f} % of the pixels")


def main() -> None:
    """Audit, print and write."""
    args = parse_args()
    cfg = read_config(args.config)
    override(cfg, args.cfg_options)
    init_default_scope(cfg.get("default_scope", "mmseg"))
    missing = [
        key for key in ("source_dataset", "target_dataset", "test_pipeline") if key not in cfg
    ]
    if missing:
        raise ValueError(
            f"The config has no {', '.join(missing)}; take one that builds on configs/_base_/pairs."
        )
    dataset = TranslatedDataset(dataset=cfg.source_dataset, translations=args.translations)
    target = DATASETS.build(cfg.target_dataset)
    indices = spread(len(dataset), args.num_images)
    predict = Predictor(cfg, load_model(cfg, Path(args.checkpoint)))
    target_paths = [
        target.get_data_info(index)["img_path"] for index in spread(len(target), args.num_images)
    ]
    report = audit_translation(
        tqdm(audited_images(dataset, indices), total=len(indices), desc="auditing"),
        predict=predict,
        classes=dataset.metainfo["classes"],
        targets=map(load_picture, target_paths),
    )
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "audit.json").write_text(json.dumps(report, indent=1))
    places = {dataset.get_data_info(index)["sample_id"]: index for index in indices}
    worst = [places[entry["sample_id"]] for entry in report["images"][: args.num_rows]]
    sheet = draw_sheet(audited_images(dataset, worst), predict, dataset.metainfo["palette"])
    cv2.imwrite(str(args.out / "sheet.jpg"), sheet)
    print_report(report)
    print(f"{args.out / 'audit.json'}, {args.out / 'sheet.jpg'}")


if __name__ == "__main__":
    run_tool("evaluate_translation", main)
