"""Labels a set of images with a model, streaming: memory does not grow with the number of images."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.dataset import pseudo_collate
from mmengine.dist import all_gather_object, barrier, get_dist_info, is_main_process
from mmseg.models.segmentors.base import BaseSegmentor
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from ..datasets.unlabelled import UnlabelledDataset
from .artefact import PseudoLabelArtefact, RoundManifest
from .class_balanced_policy import IGNORE_INDEX, ConfidenceHistogram, select_labels


def model_hash(model: nn.Module) -> str:
    """SHA-256 over names and values of all parameters and buffers, hexadecimal."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(
            value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        )
    return digest.hexdigest()


class PseudoLabeller:
    """Class-balanced pseudo labels for every image of a dataset.

    Pass 1 predicts each image once, averages over the views, counts confidences in a histogram and spools the averaged
    probabilities at a coarse stride to temporary disk. Pass 2 derives the thresholds from the histogram of all ranks,
    brings the spooled probabilities back to image size and writes the labels.

    Args:
        portion: Share of pixels to keep per predicted class, in (0, 1].
        flip: Average with the horizontally flipped image.
        scales: Image scales to average over.
        spool_stride: Stride of the spooled probabilities in pixels, >= 1.
        lowest_threshold: Lower bound of every class threshold.
        highest_threshold: Upper bound of every class threshold.

    Raises:
        ValueError: An argument is outside its range.
    """

    def __init__(
        self,
        *,
        portion: float,
        flip: bool = True,
        scales: tuple[float, ...] = (1.0,),
        spool_stride: int = 4,
        lowest_threshold: float = 0.3,
        highest_threshold: float = 0.95,
    ) -> None:
        if not 0 < portion <= 1:
            raise ValueError(f"portion must be in (0, 1], found {portion}.")
        if spool_stride < 1 or not scales or min(scales) <= 0:
            raise ValueError(
                f"spool_stride must be >= 1 and scales positive, found {spool_stride} and {scales}."
            )
        self.portion = portion
        self.flip = flip
        self.scales = tuple(scales)
        self.spool_stride = spool_stride
        self.lowest_threshold = lowest_threshold
        self.highest_threshold = highest_threshold

    def settings(self) -> dict:
        """Settings as plain types, for the manifest."""
        return {"policy": "class_balanced", **vars(self), "scales": list(self.scales)}

    @torch.no_grad()
    def probabilities(self, segmentor: BaseSegmentor, inputs: Tensor) -> Tensor:
        """Class probabilities averaged over the views.

        Args:
            segmentor: A model with ``inference`` (whole or sliding window), in evaluation mode.
            inputs: Normalised images, shape (B, 3, H, W).

        Returns:
            Shape (B, C, H, W), float32; sums to 1 over C.
        """
        size = inputs.shape[2:]
        total = torch.zeros((), device=inputs.device)
        for scale in self.scales:
            scaled = inputs
            if scale != 1.0:
                scaled = F.interpolate(inputs, scale_factor=scale, mode="bilinear")
            for flipped in (False, True) if self.flip else (False,):
                view = scaled.flip(3) if flipped else scaled
                metas = [
                    dict(ori_shape=view.shape[2:], img_shape=view.shape[2:])
                    for _ in range(len(view))
                ]
                logits = segmentor.inference(view, metas)
                logits = F.interpolate(logits.float(), size=size, mode="bilinear")
                probability = logits.softmax(dim=1)
                total = total + (probability.flip(3) if flipped else probability)
        return total / (len(self.scales) * (2 if self.flip else 1))

    def _expand(
        self, coarse: Tensor, input_size: Sequence[int], image_size: Sequence[int]
    ) -> Tensor:
        """Bring spooled probabilities (C, h, w) back to the size of the image, (C, H, W)."""
        # The last cell may reach over the border: expand whole cells, then cut.
        full = F.interpolate(coarse[None], scale_factor=float(self.spool_stride), mode="bilinear")
        full = full[..., : input_size[0], : input_size[1]]
        return F.interpolate(full, size=tuple(image_size), mode="bilinear")[0]

    def label(
        self,
        *,
        model: BaseSegmentor,
        dataset: UnlabelledDataset,
        artefact: PseudoLabelArtefact,
        round_number: int,
        num_workers: int = 0,
        segmentor: BaseSegmentor | None = None,
    ) -> RoundManifest:
        """Label all images of a dataset, sharded over the ranks, and complete the artefact.

        Args:
            model: Adaptor or plain segmentor; its mode (train or eval) is restored afterwards.
            dataset: Unlabelled dataset with an inference pipeline (no random transform).
            artefact: Where to write; an unfinished earlier attempt is removed.
            round_number: Number of the round, from 1.
            num_workers: Loader processes.
            segmentor: What predicts; None takes the adaptor's own, or the plain segmentor itself.

        Returns:
            The manifest, on every rank.
        """
        rank, world_size = get_dist_info()
        if is_main_process():
            artefact.clear()
            artefact.root.mkdir(parents=True)
        barrier()
        was_training = model.training
        model.eval()
        segmentor = segmentor or getattr(model, "segmentor", model)
        classes, palette = dataset.metainfo["classes"], dataset.metainfo["palette"]
        shard = list(range(rank, len(dataset), world_size))
        loader: DataLoader = DataLoader(
            Subset(dataset, shard), batch_size=1, num_workers=num_workers, collate_fn=pseudo_collate
        )
        histogram = ConfidenceHistogram(num_classes=len(classes))
        hashes: dict[str, str] = {}
        kept, predicted = np.zeros(len(classes)), np.zeros(len(classes))
        with tempfile.TemporaryDirectory(prefix=".spool_", dir=artefact.root) as spool:
            sizes = []
            for index, batch in enumerate(
                tqdm(loader, desc=f"round {round_number}: labelling", disable=not is_main_process())
            ):
                sample = batch["data_samples"][0]
                data: dict = model.data_preprocessor(batch, False)
                # A preprocessor may pad images at the right and at the bottom.
                height, width = batch["inputs"][0].shape[1:]
                probabilities = self.probabilities(segmentor, data["inputs"])[..., :height, :width]
                if self.spool_stride > 1:
                    probabilities = F.avg_pool2d(
                        probabilities, self.spool_stride, ceil_mode=True, count_include_pad=False
                    )
                coarse = probabilities[0].cpu().numpy().astype(np.float16)
                histogram.add(coarse)
                np.save(Path(spool) / f"{index}.npy", coarse)
                image_size = sample.metainfo["ori_shape"][:2]
                sizes.append((sample.metainfo["sample_id"], (height, width), image_size))
            histogram.counts = sum(all_gather_object(histogram.counts))
            thresholds = histogram.thresholds(
                self.portion, self.lowest_threshold, self.highest_threshold
            )
            for index, (image_id, input_size, image_size) in enumerate(sizes):
                path = Path(spool) / f"{index}.npy"
                spooled = torch.from_numpy(np.load(path)).float()
                path.unlink()
                full = self._expand(spooled, input_size, image_size).numpy()
                labels, confidence = select_labels(full, thresholds)
                hashes[image_id] = artefact.write_image(image_id, labels, confidence, palette)
                kept += np.bincount(labels[labels != IGNORE_INDEX], minlength=len(classes))
                predicted += np.bincount(full.argmax(axis=0).ravel(), minlength=len(classes))
        model.train(was_training)
        parts = all_gather_object((hashes, kept, predicted))
        kept, predicted = sum(part[1] for part in parts), sum(part[2] for part in parts)
        manifest = RoundManifest(
            round=round_number,
            model_hash=model_hash(segmentor),
            classes=list(classes),
            policy=self.settings(),
            thresholds={
                name: float(value) for name, value in zip(classes, thresholds, strict=True)
            },
            kept_share={
                name: float(kept[i] / max(predicted[i], 1)) for i, name in enumerate(classes)
            },
            coverage=float(kept.sum() / max(predicted.sum(), 1)),
            images=dict(sorted(item for part in parts for item in part[0].items())),
        )
        if is_main_process():
            artefact.finish(manifest)
        barrier()
        return manifest
