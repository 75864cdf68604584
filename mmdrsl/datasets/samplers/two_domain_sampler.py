"""Which image of which domain comes next: a pure function of seed, phase, rank and position."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
from mmengine.dist import get_dist_info, sync_random_seed
from mmseg.registry import DATA_SAMPLERS
from torch.utils.data import Sampler

from mmdrsl.datasets.class_pixel_index import class_pixel_index
from mmdrsl.datasets.samplers.rare_class_sampling import (
    CROP_ATTEMPTS,
    RareClassDraw,
    RareClassSampling,
)
from mmdrsl.datasets.two_domain import DomainSample, TwoDomainDataset, WantedClass
from mmdrsl.renamed import renamed_arguments


@DATA_SAMPLERS.register_module()
@renamed_arguments(rare_classes="rare_class_sampling")
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
        rare_class_sampling: Arguments of `RareClassSampling` for source images, ``{}`` for its defaults; None treats
            all images alike.

    Raises:
        ValueError: An option of the rare classes is impossible, or a label that they count cannot be read.
    """

    def __init__(
        self,
        dataset: TwoDomainDataset,
        *,
        seed: int | None = None,
        shuffle: bool = True,
        rare_class_sampling: dict | None = None,
    ) -> None:
        self.domains = dataset.domains
        self.sizes = {name: len(data) for name, data in dataset.domains.items()}
        self.rank, self.world_size = get_dist_info()
        self.seed = sync_random_seed() if seed is None else seed
        self.shuffle = shuffle
        self._rare: RareClassSampling | None = None
        if rare_class_sampling is not None:
            self._rare = RareClassSampling(**rare_class_sampling)
            self._draw = self._count_rare_classes(self._rare)
        self.position = 0
        self.begin_phase(phase=0, first_position=0, target_share=0.0)

    def _count_rare_classes(self, options: RareClassSampling) -> RareClassDraw:
        """Count the pixels of every class in the source's labels."""
        if not self.shuffle:
            raise ValueError("rare_class_sampling needs shuffle=True, found shuffle=False.")
        source = self.domains["source"]
        infos = [source.get_data_info(index) for index in range(len(source))]
        counts = class_pixel_index(infos, len(source.metainfo["classes"]))
        return RareClassDraw(counts, class_temp=options.class_temp, min_pixels=options.min_pixels)

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
        if self._rare is None or domain != "source":
            return DomainSample(domain, self._image_index(domain, draw), seed)
        class_id, index = self._draw.draw(np.random.default_rng([*entropy, 2]))
        min_pixels = int(self._rare.min_crop_ratio * self._rare.min_pixels)
        return DomainSample(domain, index, seed, WantedClass(class_id, min_pixels, CROP_ATTEMPTS))

    def __iter__(self) -> Iterator[DomainSample]:
        self._permutations: dict[str, tuple] = {}
        offset = self.position - self.first_position
        while True:
            targets_before = int(offset * self.target_share)
            is_target = int((offset + 1) * self.target_share) > targets_before
            domain = "target" if is_target else "source"
            own_draw = targets_before if is_target else offset - targets_before
            yield self._sample(domain, own_draw * self.world_size + self.rank)
            offset += 1

    def __len__(self) -> int:
        return sum(self.sizes.values())
