"""Which image of which domain comes next: a pure function of seed, phase, rank and position."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from mmengine.dist import get_dist_info, sync_random_seed
from mmseg.registry import DATA_SAMPLERS
from torch.utils.data import Sampler

from ..class_pixel_index import class_pixel_index
from ..two_domain import DomainSample, TwoDomainDataset, WantedClass
from .rare_classes import RareClassDraw


@dataclass(frozen=True, kw_only=True)
class RareClassOptions:
    """How rare classes are preferred; the defaults are those of DAFormer.

    Attributes:
        temperature: As for `RareClassDraw`.
        min_pixels: As for `RareClassDraw`.
        crop_share: Share of ``min_pixels`` that must be left after the transforms, or they are drawn again.
        crop_attempts: How often the transforms are drawn at most; every attempt loads the image again.
        index_file: File that keeps the pixel counts of the source, see `class_pixel_index`.
        domains: Domains that are drawn so; ``target`` counts its pseudo labels, and comes evenly without any.
    """

    temperature: float = 0.01
    min_pixels: int = 3000
    crop_share: float = 0.5
    crop_attempts: int = 10
    index_file: str | None = None
    domains: Sequence[str] = ("source",)


@DATA_SAMPLERS.register_module()
class TwoDomainSampler(Sampler):
    """Endless stream of `DomainSample` with a share of target images that changes from phase to phase.

    The stream spreads the share evenly (0.5 alternates source and target), so every batch has the same mixture where
    share times batch size is a whole number. Each domain is shuffled on its own, epoch by epoch, over all ranks; with
    rare classes preferred, each image is drawn for itself instead. There is no state but the position: an interrupted
    run continues with `skip`, and loads nothing twice.

    Args:
        dataset: The two-domain dataset.
        seed: Seed of the stream; None takes one shared by all ranks.
        shuffle: Whether to shuffle; without it images come in order.
        rare_classes: Arguments of `RareClassOptions`, ``{}`` for its defaults; None treats all images alike.

    Raises:
        ValueError: An option of the rare classes is impossible, or a label that they count cannot be read.
    """

    def __init__(
        self,
        dataset: TwoDomainDataset,
        *,
        seed: int | None = None,
        shuffle: bool = True,
        rare_classes: dict | None = None,
    ) -> None:
        self.domains = dataset.domains
        self.sizes = {name: len(data) for name, data in dataset.domains.items()}
        self.rank, self.world_size = get_dist_info()
        self.seed = sync_random_seed() if seed is None else seed
        self.shuffle = shuffle
        self.rare_classes = None if rare_classes is None else RareClassOptions(**rare_classes)
        self._draws: dict[str, RareClassDraw] = {}
        if self.rare_classes is not None:
            self._prepare_rare_classes(self.rare_classes)
        self.position = 0
        self.begin_phase(phase=0, first_position=0, target_share=0.0)

    def _prepare_rare_classes(self, options: RareClassOptions) -> None:
        strangers = sorted(set(options.domains) - {"source", "target"})
        if strangers or not self.shuffle:
            raise ValueError(
                "rare_classes needs shuffle=True and domains among source and target, found "
                f"shuffle={self.shuffle} and {list(options.domains)}."
            )
        if "source" in options.domains:
            source = self.domains["source"]
            infos = [source.get_data_info(index) for index in range(len(source))]
            counts = class_pixel_index(infos, self._num_classes, index_file=options.index_file)
            self._draws["source"] = self._rare_class_draw(counts, options)

    @property
    def _num_classes(self) -> int:
        return len(self.domains["source"].metainfo["classes"])

    @staticmethod
    def _rare_class_draw(counts: np.ndarray, options: RareClassOptions) -> RareClassDraw:
        return RareClassDraw(counts, temperature=options.temperature, min_pixels=options.min_pixels)

    def _follow_pseudo_labels(self) -> None:
        """Count the target's present pseudo labels, where its rare classes are preferred."""
        options = self.rare_classes
        if options is None or "target" not in options.domains or "target" not in self.domains:
            return
        self._draws.pop("target", None)
        target = self.domains["target"]
        infos = [target.get_data_info(index) for index in range(len(target))]
        labels = [{"seg_map_path": info["pseudo_label_path"]} for info in infos]
        if self.target_share > 0 and all(label["seg_map_path"] for label in labels):
            counts = class_pixel_index(labels, self._num_classes)
            # A first model may be sure of nothing.
            if counts.any():
                self._draws["target"] = self._rare_class_draw(counts, options)

    def begin_phase(self, *, phase: int, first_position: int, target_share: float) -> None:
        """Set the mixture from a position on.

        Args:
            phase: Number of the phase; it enters the shuffling.
            first_position: Position (in samples of one rank) where the phase begins.
            target_share: Share of target images, in [0, 1].

        Raises:
            ValueError: The share is outside [0, 1], or above 0 without a target dataset.
        """
        if not 0 <= target_share <= 1:
            raise ValueError(f"target_share must be in [0, 1], found {target_share}.")
        if target_share > 0 and "target" not in self.sizes:
            raise ValueError(
                f"target_share is {target_share}, but train_dataloader.dataset has no target; add one, or use "
                "target_share=0."
            )
        self.phase = phase
        self.first_position = first_position
        self.target_share = Fraction(target_share).limit_denominator(1000)

    def skip(self, num_samples: int) -> None:
        """Let the next iteration begin at an absolute position; MMEngine calls this when it resumes a run.

        Args:
            num_samples: Position in samples of one rank since the start of training.
        """
        self.position = num_samples

    def _image_index(self, domain: str, draw: int) -> int:
        size = self.sizes[domain]
        if not self.shuffle:
            return draw % size
        key = (domain, draw // size)
        if self._permutations.get(domain, (None,))[0] != key:
            sequence = np.random.SeedSequence(
                [self.seed, self.phase, int(domain == "target"), draw // size]
            )
            self._permutations[domain] = (key, np.random.default_rng(sequence).permutation(size))
        return int(self._permutations[domain][1][draw % size])

    def _sample(self, domain: str, draw: int) -> DomainSample:
        """The draw-th sample of a domain, counted over all ranks."""
        entropy = [self.seed, self.phase, int(domain == "target"), draw]
        seed = int(np.random.SeedSequence([*entropy, 1]).generate_state(1)[0])
        options = self.rare_classes
        if options is None or domain not in self._draws:
            return DomainSample(domain, self._image_index(domain, draw), seed)
        class_id, index = self._draws[domain].draw(np.random.default_rng([*entropy, 2]))
        min_pixels = int(options.crop_share * options.min_pixels)
        wanted = WantedClass(class_id, min_pixels, options.crop_attempts)
        return DomainSample(domain, index, seed, wanted)

    def __iter__(self) -> Iterator[DomainSample]:
        self._permutations: dict[str, tuple] = {}
        self._follow_pseudo_labels()
        offset = self.position - self.first_position
        while True:
            targets_before = int(offset * self.target_share)
            is_target = int((offset + 1) * self.target_share) > targets_before
            domain = "target" if is_target else "source"
            own_draw = targets_before if is_target else offset - targets_before
            sample = self._sample(domain, own_draw * self.world_size + self.rank)
            yield sample._replace(position=self.first_position + offset)
            offset += 1

    def __len__(self) -> int:
        return sum(self.sizes.values())
