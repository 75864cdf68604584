"""Are discovered modes real? Their agreement with the true sub-types of the procedural scenes.

python tools/analysis_tools/mode_purity.py CONFIG CHECKPOINT [CHECKPOINT ...] [--plain CONFIG CHECKPOINT]
    [--out FILE.json] [--num-images N] [--cfg-options KEY=VALUE ...]

The renderer knows whether a pixel of a building is brick or glass; nothing in training does. For each checkpoint (its
number of modes K is read from it) and each class with several sub-types: normalized mutual information (NMI, 0..1)
between the nearest mode of the true class and the sub-type, on game (source, training images) and camera (target,
validation images). Beside it k-means with the same K on the features that the modes read: of the same checkpoint,
or of the run given by --plain. Its centers come from game pixels, as the modes do, and are applied to both domains.
A third column, k-means on the embeddings, tells whether a low score is the embedding's fault or the modes'.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

import mmdrsl  # noqa: F401 - registers everything before a config is built
from mmdrsl.checkpoints import read_checkpoint
from mmdrsl.datasets.inspection.config_domains import plain_datasets
from mmdrsl.engine.config_options import add_config_options, override
from mmdrsl.engine.launch import add_trust_option, read_config, run_tool
from mmdrsl.methods.drsl.mmdl_head import MMDLHead
from mmdrsl.models.batch_norm import calibrate_running_statistics
from mmdrsl.models.feature_maps import choose_map, feature_maps
from mmdrsl.models.label_maps import resize_labels
from mmdrsl.models.segmentors.uda_segmentor import UDASegmentor
from mmdrsl.visualization.mode_maps import load_model, mode_head

# Fewer pixels of a class than this say nothing about its modes.
MIN_PIXELS = 50
MAX_PIXELS_PER_CLASS = 4000
SCORES = ("modes", "kmeans", "kmeans_embeddings")


@dataclass(frozen=True)
class Pixels:
    """Feature cells of one domain.

    Attributes:
        features: The features that the modes read, shape (N, F).
        embeddings: Of the `MMDLHead`, shape (N, D); zeros without one.
        modes: Nearest mode of the true class, shape (N,); zeros without an `MMDLHead`.
        classes: True class, shape (N,).
        subtypes: True sub-type, shape (N,).
    """

    features: np.ndarray
    embeddings: np.ndarray
    modes: np.ndarray
    classes: np.ndarray
    subtypes: np.ndarray


def subtype_path(label_path: str) -> Path:
    """Path of the sub-type map that the renderer wrote beside a label file.

    Raises:
        ValueError: The label lies in no folder of the scenes' layout.
        FileNotFoundError: There is no such map.
    """
    path = Path(label_path)
    if path.parent.name == "labels":
        found = path.parents[1] / "subtypes" / path.name
    elif "gtFine" in path.parts:
        root = next(parent for parent in path.parents if parent.name == "gtFine")
        name = path.name.replace("_gtFine_labelIds", "_subtypes")
        found = root.parent / "subtypes" / path.parent.relative_to(root) / name
    else:
        raise ValueError(
            f"{path} is no label of the scenes: only make_scenes.py writes sub-types beside labels."
        )
    if not found.is_file():
        raise FileNotFoundError(f"{found} does not exist: make the scenes again.")
    return found


@torch.no_grad()
def collect(
    model: UDASegmentor, dataset: Dataset, num_images: int, feature_index: int | str
) -> Pixels:
    """Features, modes, classes and sub-types of the labeled cells of a dataset.

    Args:
        model: Adaptor in evaluation mode, with or without an `MMDLHead` named ``mmdl``.
        dataset: Labeled dataset of the scenes with a pipeline of whole images.
        num_images: How many images at most, evenly spread.
        feature_index: Which feature map is the plain one.

    Returns:
        The cells; classes with more than `MAX_PIXELS_PER_CLASS` are thinned with a fixed seed.
    """
    head: Any = dict(model.heads.items()).get("mmdl")
    columns: list[list[Tensor]] = [[], [], [], [], []]
    count = len(dataset)  # type: ignore[arg-type]
    for index in np.unique(np.linspace(0, count - 1, min(count, num_images)).astype(int)):
        packed = dataset[int(index)]
        path = subtype_path(packed["data_samples"].metainfo["seg_map_path"])
        subtypes = torch.from_numpy(np.array(Image.open(path)))[None].long()
        preprocess: Any = model.data_preprocessor
        inputs = preprocess(pseudo_collate([packed]), False)["inputs"]
        features = feature_maps(model, inputs)
        plain = choose_map(features, feature_index)
        labels = resize_labels(packed["data_samples"].gt_sem_seg.data.long(), plain.shape[2:])
        valid = labels < model.num_classes
        embeddings, nearest = torch.zeros_like(plain), torch.zeros_like(labels)
        if head is not None:
            embeddings = head(features)
            nearest = head.nearest_mode(embeddings, labels.clamp(max=model.num_classes - 1))
        values = (
            plain.movedim(1, -1)[valid],
            embeddings.movedim(1, -1)[valid],
            nearest[valid],
            labels[valid],
            resize_labels(subtypes, plain.shape[2:])[valid],
        )
        for column, value in zip(columns, values, strict=True):
            column.append(value)
    cells = [torch.cat(column).numpy() for column in columns]
    classes = cells[-2]
    rng = np.random.default_rng(0)
    kept = np.concatenate(
        [
            rng.permutation(np.flatnonzero(classes == number))[:MAX_PIXELS_PER_CLASS]
            for number in np.unique(classes)
        ]
    )
    return Pixels(*(cell[kept] for cell in cells))


def with_statistics_of(model: UDASegmentor, dataset: Dataset, num_images: int) -> UDASegmentor:
    """The model for one domain: a checkpoint whose domains are normalized apart has the target's statistics only."""
    if model.bn_mode != "domain_specific":
        return model
    model = copy.deepcopy(model).train()
    preprocess: Any = model.data_preprocessor
    count = len(dataset)  # type: ignore[arg-type]
    chosen = np.linspace(0, count - 1, min(count, num_images)).astype(int)

    def forward(images: Tensor) -> None:
        features = feature_maps(model, images)
        for head in model.heads.children():
            head(features)

    batches = (
        preprocess(pseudo_collate([dataset[int(index)] for index in part]), False)["inputs"]
        for part in np.array_split(chosen, max(len(chosen) // 8, 1))
    )
    calibrate_running_statistics(model, forward, batches)
    return model.eval()


def kmeans_score(fitted: Pixels, applied: Pixels, number: int, num_clusters: int, of: str) -> float:
    """NMI of a class's sub-types with clusters; centers come from one domain and are applied to another."""
    # Imported where it is used: it takes as long to import as the rest of the tool.
    from sklearn.cluster import KMeans
    from sklearn.metrics import normalized_mutual_info_score

    centers = KMeans(num_clusters, n_init=4, random_state=0)
    centers.fit(getattr(fitted, of)[fitted.classes == number].astype(np.float64))
    member = applied.classes == number
    clusters = centers.predict(getattr(applied, of)[member].astype(np.float64))
    return float(normalized_mutual_info_score(applied.subtypes[member], clusters))


def class_scores(
    own: dict[str, Pixels], plain: dict[str, Pixels], num_modes: int, names: Sequence[str]
) -> dict[str, dict]:
    """NMI with the true sub-types by domain and class.

    Args:
        own: Pixels of the model with modes, by domain.
        plain: Pixels of the model whose plain features are clustered, by domain.
        num_modes: K.
        names: Names of the classes.

    Returns:
        By domain: by class name ``modes``, ``kmeans`` (plain features), ``kmeans_embeddings``, ``subtypes`` (how many
        are there) and ``pixels``; and ``mean``. Classes with one sub-type or too few pixels are left out.
    """
    from sklearn.metrics import normalized_mutual_info_score

    result: dict[str, dict] = {}
    for domain, pixels in own.items():
        scores = {}
        for number, name in enumerate(names):
            member = pixels.classes == number
            fitted = (own["game"].classes == number).sum()
            truth = pixels.subtypes[member]
            if min(member.sum(), fitted) < MIN_PIXELS or len(np.unique(truth)) < 2:
                continue
            scores[name] = dict(
                modes=float(normalized_mutual_info_score(truth, pixels.modes[member])),
                kmeans=kmeans_score(plain["game"], plain[domain], number, num_modes, "features"),
                kmeans_embeddings=kmeans_score(
                    own["game"], pixels, number, num_modes, "embeddings"
                ),
                subtypes=len(np.unique(truth)),
                pixels=int(member.sum()),
            )
        means = {
            key: float(np.mean([score[key] for score in scores.values()])) if scores else 0.0
            for key in SCORES
        }
        result[domain] = dict(classes=scores, mean=means)
    return result


def datasets_of(cfg: Config) -> dict[str, Dataset]:
    """Game and camera images with labels, whole and unchanged."""
    init_default_scope(cfg.default_scope)
    # The original images, where the run trains on translations of them.
    source = next(plain_datasets(cfg.train_dataloader.dataset.source))
    camera = cfg.val_dataloader.dataset
    return {
        "game": DATASETS.build({**source, "pipeline": camera.pipeline, "test_mode": True}),
        "camera": DATASETS.build(camera),
    }


def load_with_its_modes(cfg: Config, checkpoint: str) -> UDASegmentor:
    """Build the config's model with as many modes as a checkpoint holds.

    Raises:
        FileNotFoundError: The checkpoint does not exist.
        ValueError: It holds no modes.
    """
    modes = read_checkpoint(checkpoint).get("state_dict", {}).get("heads.mmdl.representatives")
    if modes is None:
        raise ValueError(
            f"{checkpoint} holds no modes (heads.mmdl.representatives): train with mode learning."
        )
    cfg = Config(cfg.to_dict())
    cfg.model.heads.mmdl.num_modes = modes.shape[1]
    return load_model(cfg, checkpoint)


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Agreement of modes with true sub-types")
    parser.add_argument("config", help="config of the runs, on the scenes")
    parser.add_argument("checkpoints", nargs="+", help="one per number of modes")
    parser.add_argument(
        "--plain", nargs=2, metavar=("CONFIG", "CHECKPOINT"), help="run whose features to cluster"
    )
    parser.add_argument("--num-images", type=int, default=60, help="images per domain")
    parser.add_argument("--out", type=Path, help="write the scores as JSON")
    add_config_options(parser)
    add_trust_option(parser)
    return parser.parse_args()


def main() -> None:
    """Score every checkpoint and print one line each."""
    args = parse_args()
    cfg = read_config(args.config)
    override(cfg, args.cfg_options)
    datasets = datasets_of(cfg)
    names = datasets["camera"].metainfo["classes"]  # type: ignore[attr-defined]
    head_cfg = (cfg.model.get("heads") or {}).get("mmdl")
    if head_cfg is None:
        raise ValueError(
            f"{args.config} has no head of modes (model.heads.mmdl): give the config of a training with mode learning."
        )
    index = head_cfg.get("in_index", -1)

    def pixels_of(model: UDASegmentor) -> dict[str, Pixels]:
        return {
            domain: collect(
                with_statistics_of(model, data, args.num_images), data, args.num_images, index
            )
            for domain, data in datasets.items()
        }

    plain = None
    if args.plain:
        plain = pixels_of(load_model(read_config(args.plain[0]), args.plain[1]))
    report = []
    columns = [
        f"{domain}: {what}"
        for domain in ("game", "camera")
        for what in ("modes", "k-means", "k-means on embeddings")
    ]
    print(f"| K | {' | '.join(columns)} |")
    print("| --- " * 7 + "|")
    for checkpoint in args.checkpoints:
        model = load_with_its_modes(cfg, checkpoint)
        head: MMDLHead = mode_head(model, "mmdl")
        own = pixels_of(model)
        scores = class_scores(own, plain or own, head.num_modes, names)
        report.append(dict(checkpoint=checkpoint, num_modes=head.num_modes, **scores))
        means = [scores[domain]["mean"] for domain in ("game", "camera")]
        cells = [f"{mean[key]:.3f}" for mean in means for key in SCORES]
        print(f"| {head.num_modes} | {' | '.join(cells)} |", flush=True)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    run_tool("mode_purity", main)
