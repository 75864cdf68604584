"""Labels a set of images with a model, streaming: memory does not grow with the number of images."""

from __future__ import annotations

import copy
import hashlib
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.dataset import Compose, pseudo_collate
from mmengine.dist import all_gather_object, barrier, get_dist_info, is_main_process
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from mmdrsl.argument_checks import checked_arguments
from mmdrsl.atomic_files import DiskFullError, is_disk_full
from mmdrsl.datasets.unlabeled import UnlabelledDataset
from mmdrsl.finite_values import non_finite_names
from mmdrsl.folder_lock import written_alone
from mmdrsl.models.batch_norm import share_buffers
from mmdrsl.pseudo_labels.artifact import PseudoLabelArtifact, RoundManifest
from mmdrsl.pseudo_labels.domain_scores import mean_entropy, soft_neighborhood_density
from mmdrsl.pseudo_labels.label_policy import IGNORE_INDEX, build_policy
from mmdrsl.pseudo_labels.score_histogram import ScoreHistogram
from mmdrsl.pseudo_labels.unfinished_round import UnfinishedRound
from mmdrsl.pseudo_labels.views import JointHeads, Views, inference_mode_of
from mmdrsl.renamed import renamed_arguments

# Scores are added up as integers of this unit, so that neither order nor number of ranks changes a sum.
SCORE_UNIT = 1e-9
WRITERS = 2


def model_hash(model: nn.Module) -> str:
    """SHA-256 over names and values of all parameters and buffers, hexadecimal."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(
            value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        )
    return digest.hexdigest()


@dataclass(frozen=True)
class _Image:
    """One image on its way: its index and name, the size of the network's input, the size of the file."""

    index: int
    image_id: str
    input_size: tuple[int, int]
    image_size: tuple[int, int]


@checked_arguments
@renamed_arguments(spool_stride="prediction_stride", max_spool_gigabytes="max_cache_gigabytes")
class PseudoLabeler:
    """Pseudo labels for every image of a dataset, by a policy that the config chooses.

    Thresholds depend on all images. So every image is predicted once, its scores are counted in a histogram, and the
    probabilities are kept at a coarse stride in half precision on temporary disk (the prediction cache); then labels
    are chosen and written. Choosing and writing run in threads beside the prediction. A labeling that was interrupted
    continues where it stopped, with the same result.

    Args:
        policy: Config of a `LabelPolicy`; without a type a `ClassBalancedPolicy`.
        portion: Share of pixels to keep per predicted class; None for policies that take none.
        flip: Average with the horizontally flipped image.
        scales: Image scales to average over.
        test_cfg: ``dict(mode='slide', crop_size=..., stride=...)`` or ``dict(mode='whole')``; None keeps the model's.
        undo_class_weights: Divide the segmentation head's probabilities by the class weights that it was trained with;
            see `Views`.
        prediction_stride: Stride of the predictions in pixels, >= 1; they are interpolated to the image's size.
        max_cache_gigabytes: Largest prediction cache; more is refused before the first image is stored.
        pipeline: Transforms that load an image, without random ones; they must pack ``sample_id`` and ``ori_shape``.
            None takes the dataset's own, which then are no part of the settings.

    Raises:
        TypeError: The policy does not fit the portion.
        ValueError: An argument is outside its range.
    """

    def __init__(
        self,
        *,
        policy: dict | None = None,
        portion: float | None = None,
        flip: bool = True,
        scales: Sequence[float] = (1.0,),
        test_cfg: dict | None = None,
        undo_class_weights: bool = False,
        prediction_stride: int = 4,
        max_cache_gigabytes: float = 50.0,
        pipeline: Sequence[dict] | None = None,
    ) -> None:
        if prediction_stride < 1 or not scales or min(scales) <= 0:
            raise ValueError(
                f"prediction_stride must be >= 1 and scales positive, found {prediction_stride} and {scales}."
            )
        self.policy = build_policy(policy, portion)
        self.views = Views(
            flip=flip,
            scales=tuple(scales),
            stride=prediction_stride,
            undo_class_weights=undo_class_weights,
        )
        self.test_cfg = test_cfg
        self.max_cache_gigabytes = max_cache_gigabytes
        self.pipeline = None if pipeline is None else list(pipeline)

    def settings(self, networks: Any) -> dict:
        """Everything beside weights and images that labels depend on, as plain types, for the manifest.

        Args:
            networks: Modules ``segmentor`` and ``heads``.
        """
        test_cfg = networks["segmentor"].test_cfg if self.test_cfg is None else self.test_cfg
        return {
            **self.policy.settings(),
            "flip": self.views.flip,
            "scales": list(self.views.scales),
            "stride": self.views.stride,
            "undo_class_weights": self.views.undo_class_weights,
            "test_cfg": _plain(test_cfg or {}),
            "pipeline": _plain(self.pipeline),
        }

    def predictor(self, networks: Any) -> Any:
        """Return what predicts for the policy: the segmentor, with a second head where the policy reads one.

        Args:
            networks: Modules ``segmentor`` and ``heads``.

        Raises:
            ValueError: The policy reads a head that is not there.
        """
        if self.policy.second_head is None:
            return networks["segmentor"]
        joint = JointHeads(
            networks["segmentor"],
            self.policy.second_head,
            networks["heads"],
            self.policy.second_weight,
        )
        return joint.eval()

    def label(
        self,
        *,
        model: Any,
        dataset: UnlabelledDataset,
        artifact: PseudoLabelArtifact,
        round_number: int,
        num_workers: int = 0,
        networks: nn.ModuleDict | None = None,
        previous: PseudoLabelArtifact | None = None,
    ) -> RoundManifest:
        """Label all images of a dataset, sharded over the ranks, and complete the artifact.

        Args:
            model: Adaptor or plain segmentor, for its preprocessor; its mode (train or eval) is restored afterwards.
            dataset: Unlabeled dataset; with an inference pipeline (no random transform) where the labeler has none.
            artifact: Where to write. An earlier attempt of the same labeling is continued, any other is removed.
            round_number: Number of the round, from 1.
            num_workers: Loader processes.
            networks: Modules ``segmentor`` and ``heads`` that predict, such as those of a teacher; None takes the
                model's own.
            previous: Artifact of the round before, for the agreement between rounds.

        Returns:
            The manifest, on every rank.

        Raises:
            BlockingIOError: Another process labels into the same folder.
            DiskFullError: The disk is full; rounds before are untouched, and the next attempt continues this one.
            FloatingPointError: The network's weights or its predictions hold NaN or Inf.
            ValueError: The prediction cache would be larger than allowed, or the policy reads a head that is not there.
        """
        was_training = model.training
        model.eval()
        chosen: Any = networks or _networks_of(model)
        network = self.predictor(chosen)
        _check_weights(network)
        if self.pipeline is not None:
            dataset = copy.copy(dataset)
            dataset.pipeline = Compose(self.pipeline)
        # Each rank has batch statistics of its own; the labels are those of one model, the one that is saved.
        share_buffers(network)
        job = _Job(self, model.data_preprocessor, network, dataset, artifact, previous, num_workers)
        identity = {
            "round": round_number,
            "model_hash": model_hash(network),
            "classes": list(dataset.metainfo["classes"]),
            "policy": self.settings(chosen),
            "images": job.image_list_hash(),
        }
        try:
            with written_alone(artifact.root) if is_main_process() else nullcontext():
                if is_main_process():
                    if not job.unfinished.belongs_to(identity):
                        artifact.clear()
                    job.unfinished.begin(identity)
                barrier()
                with inference_mode_of(network, self.test_cfg), _full_disk_explained(artifact.root):
                    thresholds = job.run(f"round {round_number}: labeling")
                    job.unfinished.close()
                    barrier()
                    manifest = job.manifest(identity, thresholds)
                    barrier()
                    if is_main_process():
                        artifact.finish(manifest)
                        artifact.clear_leftovers()
        finally:
            job.unfinished.close()
            model.train(was_training)
        barrier()
        return manifest


class _Job:
    """One labeling of one dataset by one model: the passes over this rank's images, and the sum over all ranks."""

    def __init__(
        self,
        labeler: PseudoLabeler,
        preprocess: nn.Module,
        network: Any,
        dataset: UnlabelledDataset,
        artifact: PseudoLabelArtifact,
        previous: PseudoLabelArtifact | None,
        num_workers: int,
    ) -> None:
        self.labeler = labeler
        self.policy, self.views = labeler.policy, labeler.views
        self.preprocess = preprocess
        self.network = network
        self.dataset = dataset
        self.artifact = artifact
        self.previous = previous
        self.num_workers = num_workers
        self.num_classes = len(dataset.metainfo["classes"])
        self.rank, self.world_size = get_dist_info()
        self.unfinished = UnfinishedRound(artifact.root, self.rank)
        self.lock = threading.Lock()

    def image_list_hash(self) -> str:
        """Hash of the names of all images, in order."""
        digest = hashlib.sha256()
        for index in range(len(self.dataset)):
            digest.update(self.dataset.get_data_info(index)["sample_id"].encode() + b"\n")
        return digest.hexdigest()

    def run(self, title: str) -> Tensor:
        """Predict, choose and write this rank's share; return the thresholds, shape (C,)."""
        done = {entry["index"] for entry in self.unfinished.records()}
        left = [
            index
            for index in range(self.rank, len(self.dataset), self.world_size)
            if index not in done
        ]
        thresholds = self.unfinished.thresholds()
        barrier()
        if thresholds is None:
            thresholds = self._agree_on_thresholds(self._fill_cache(left, title))
        with _writers() as submit:
            for index in left:
                submit(self._finish_cached, index, thresholds)
        return thresholds

    def _agree_on_thresholds(self, histogram: ScoreHistogram) -> Tensor:
        """Add up the ranks' counts, derive the thresholds, and keep them for a continuation."""
        histogram.counts = torch.stack(all_gather_object(histogram.counts)).sum(dim=0)
        thresholds = self.policy.thresholds(histogram)
        if is_main_process():
            self.unfinished.keep_thresholds(thresholds)
        # A rank that finishes images drops what the thresholds were made of.
        barrier()
        return thresholds

    def _predictions(self, indices: list[int], title: str) -> Iterator[tuple[_Image, Tensor]]:
        """Predict images; the maps at the coarse stride, half precision, without the preprocessor's padding."""
        loader: DataLoader = DataLoader(
            Subset(self.dataset, indices),
            batch_size=1,
            num_workers=self.num_workers,
            collate_fn=pseudo_collate,
        )
        progress = tqdm(loader, desc=title, disable=not is_main_process())
        for index, batch in zip(indices, progress, strict=True):
            meta = batch["data_samples"][0].metainfo
            height, width = batch["inputs"][0].shape[1:]
            image = _Image(index, meta["sample_id"], (height, width), meta["ori_shape"][:2])
            inputs = self.preprocess(batch, False)["inputs"]
            probabilities = self.views.predict(self.network, inputs)
            rows, columns = -(-height // self.views.stride), -(-width // self.views.stride)
            packed = probabilities[:, :rows, :columns].half().cpu()
            if not packed.isfinite().all():
                raise FloatingPointError(
                    f"The prediction for the image {image.image_id} holds NaN or Inf: nothing is labeled with it. "
                    "Label with an earlier checkpoint."
                )
            yield image, packed

    def _fill_cache(self, indices: list[int], title: str) -> ScoreHistogram:
        """Predictions to disk, their scores to a histogram; predictions of an earlier attempt are used again."""
        histogram = ScoreHistogram(num_classes=self.num_classes)

        def count(packed: Tensor) -> None:
            predicted, scores = self.policy.scores(packed.float())
            with self.lock:
                histogram.add(predicted, scores)

        def store(image: _Image, packed: Tensor) -> None:
            self.unfinished.cache(image.index, asdict(image), packed.numpy())
            count(packed)

        missing = []
        for index in indices:
            if self.unfinished.is_cached(index):
                count(self.unfinished.read(index)[1])
            else:
                missing.append(index)
        with _writers() as submit:
            for image, packed in self._predictions(missing, title):
                if image.index == missing[0]:
                    self._check_cache_size(packed)
                submit(store, image, packed)
        return histogram

    def _check_cache_size(self, packed: Tensor) -> None:
        gigabytes = packed.numel() * packed.element_size() * len(self.dataset) / 1e9
        if gigabytes > self.labeler.max_cache_gigabytes:
            raise ValueError(
                f"The cache of {len(self.dataset)} predictions would take {gigabytes:.1f} GB, max_cache_gigabytes is "
                f"{self.labeler.max_cache_gigabytes}. Use a larger prediction_stride or a larger "
                "max_cache_gigabytes."
            )

    def _finish_cached(self, index: int, thresholds: Tensor) -> None:
        """Label one image of the cache, and give its space back."""
        image, packed = self.unfinished.read(index)
        self._finish(_Image(**image), packed, thresholds)
        self.unfinished.forget(index)

    def _finish(self, image: _Image, packed: Tensor, thresholds: Tensor) -> None:
        """Choose and write the labels of one image, and record it."""
        coarse = packed.float()
        full = self._expand(coarse, image)
        labels, confidence = self.policy.select(full, thresholds)
        scaled = (confidence * 255).round_().to(torch.uint8).numpy()
        digest = self.artifact.write_image(
            image.image_id, labels.numpy(), scaled, self.dataset.metainfo["palette"]
        )
        predicted, _ = self.policy.scores(coarse)
        share = labels.numel() / predicted.numel()
        counts = torch.bincount(predicted.flatten(), minlength=self.num_classes)
        both, equal = self._compare(image.image_id, labels.numpy())
        entry = {
            "index": image.index,
            "image": image.image_id,
            "hash": digest,
            "pixels": labels.numel(),
            "kept": torch.bincount(labels.flatten(), minlength=256)[: self.num_classes].tolist(),
            "predicted": [round(count * share) for count in counts.tolist()],
            "entropy": round(mean_entropy(coarse) / SCORE_UNIT),
            "density": round(soft_neighborhood_density(coarse) / SCORE_UNIT),
            "both": both,
            "equal": equal,
        }
        with self.lock:
            self.unfinished.record(entry)

    def _expand(self, coarse: Tensor, image: _Image) -> Tensor:
        """Bring maps (C, h, w) at the coarse stride to the size of the image file, (C, H, W)."""
        # The last cell may reach over the border: expand whole cells, then cut.
        full = F.interpolate(coarse[None], scale_factor=float(self.views.stride), mode="bilinear")
        full = full[..., : image.input_size[0], : image.input_size[1]]
        if tuple(image.input_size) != tuple(image.image_size):
            full = F.interpolate(full, size=tuple(image.image_size), mode="bilinear")
        return full[0]

    def _compare(self, image_id: str, labels: np.ndarray) -> tuple[int, int]:
        """Pixels that this round and the one before both label, and those where they agree."""
        path = None if self.previous is None else self.previous.label_path(image_id)
        if path is None or not path.is_file():
            return 0, 0
        with Image.open(path) as image:
            before = np.asarray(image)
        if before.shape != labels.shape:
            return 0, 0
        both = (before != IGNORE_INDEX) & (labels != IGNORE_INDEX)
        return int(both.sum()), int((both & (before == labels)).sum())

    def _check_count(self, hashes: Mapping[str, str]) -> None:
        """Refuse to complete a round whose labels are not those of the dataset's images, one each."""
        names = [
            self.dataset.get_data_info(index)["sample_id"] for index in range(len(self.dataset))
        ]
        if len(names) == len(hashes) and set(names) == hashes.keys():
            return
        twice = [name for name, count in Counter(names).items() if count > 1]
        others = sorted(set(names) ^ hashes.keys())
        raise ValueError(
            f"{self.artifact.root}: {len(hashes)} images were labeled, the data set has {len(names)}"
            + (f"; several are named {twice[:3]}: rename them" if twice else "")
            + (
                f"; they differ in {others[:3]}: remove the folder and label again"
                if others
                else ""
            )
            + "."
        )

    def manifest(self, identity: dict, thresholds: Tensor) -> RoundManifest:
        """Add up the records of all images."""
        classes = identity["classes"]
        kept, predicted = np.zeros((2, self.num_classes), dtype=np.int64)
        totals = dict.fromkeys(("pixels", "entropy", "density", "both", "equal"), 0)
        hashes: dict[str, str] = {}
        for entry in self.unfinished.records():
            if entry["image"] in hashes:
                continue
            hashes[entry["image"]] = entry["hash"]
            kept += entry["kept"]
            predicted += entry["predicted"]
            for name in totals:
                totals[name] += entry[name]
        self._check_count(hashes)
        scores = {
            "entropy": totals["entropy"] * SCORE_UNIT / max(len(hashes), 1),
            "soft_neighborhood_density": totals["density"] * SCORE_UNIT / max(len(hashes), 1),
        }
        if totals["both"]:
            scores["agreement"] = totals["equal"] / totals["both"]
        return RoundManifest(
            round=identity["round"],
            model_hash=identity["model_hash"],
            classes=classes,
            policy=identity["policy"],
            thresholds={name: float(thresholds[i]) for i, name in enumerate(classes)},
            kept_share={
                name: float(kept[i] / max(predicted[i], 1)) for i, name in enumerate(classes)
            },
            coverage=float(kept.sum() / max(totals["pixels"], 1)),
            images=dict(sorted(hashes.items())),
            scores=scores,
        )


def _check_weights(network: nn.Module) -> None:
    """Refuse to label with weights that are no numbers."""
    names = non_finite_names(network.state_dict())
    if names:
        raise FloatingPointError(
            f"{len(names)} weights and buffers of the network that labels hold NaN or Inf, such as {names[0]}: nothing "
            "is labeled with it. Label with an earlier checkpoint."
        )


def _networks_of(model: Any) -> dict[str, Any]:
    """Segmentor and heads of an adaptor or of a plain segmentor."""
    return {
        "segmentor": getattr(model, "segmentor", model),
        "heads": getattr(model, "heads", {}),
    }


def _plain(value: Any) -> Any:
    """A config value as dictionaries, lists, numbers and names."""
    if isinstance(value, type):
        return value.__name__
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, list | tuple) else value


@contextmanager
def _writers() -> Iterator[Callable[..., None]]:
    """Run functions in threads, with a short queue so that memory stays bounded; their errors are raised here."""
    pending: deque[Future] = deque()
    with ThreadPoolExecutor(WRITERS) as pool:

        def submit(function: Callable[..., None], *args: Any) -> None:
            while len(pending) >= 2 * WRITERS:
                pending.popleft().result()
            pending.append(pool.submit(function, *args))

        yield submit
        while pending:
            pending.popleft().result()


@contextmanager
def _full_disk_explained(root: Path) -> Iterator[None]:
    """Say what a full disk means for a labeling."""
    try:
        yield
    except OSError as error:
        if not is_disk_full(error):
            raise
        remedy = (
            "Rounds before this one are complete and usable, and the labeling continues where it stopped. A larger "
            "prediction_stride needs less."
        )
        raise DiskFullError(root, remedy) from error
