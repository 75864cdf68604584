"""Which batches a run will see: how many images of each domain, in which phase."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from typing import Any

import torch
from mmengine.runner import Runner
from mmengine.structures import PixelData

from mmdrsl.datasets.samplers.two_domain_sampler import TwoDomainSampler
from mmdrsl.engine.model_access import unwrapped
from mmdrsl.engine.round_schedule import Phase


@dataclass(frozen=True)
class BatchMixture:
    """A composition that batches of a run have.

    Attributes:
        phase: The first phase with such batches.
        num_source: Source images; all images where there is one domain.
        num_target: Target images.
        position: Position of the first such batch in the sampler's stream, in samples.
    """

    phase: Phase
    num_source: int
    num_target: int
    position: int

    @property
    def domains(self) -> frozenset[str]:
        """The domains of the batch."""
        counts = dict(source=self.num_source, target=self.num_target)
        return frozenset(name for name, count in counts.items() if count > 0)

    @property
    def kind(self) -> tuple[bool, bool, int, int]:
        """What two mixtures of different phases have in common where one trial is enough for both."""
        return self.phase.number > 0, self.phase.labeled, self.num_source, self.num_target

    def describe(self) -> str:
        """Say where the batch belongs and what it holds."""
        place = f"round {self.phase.number}" if self.phase.number else "the warm-up"
        return f"a step of {place} on {self.num_source} source and {self.num_target} target images"


def compositions(share: float, batch_size: int, num_batches: int) -> dict[int, int]:
    """Numbers of target images that batches of a phase hold.

    Args:
        share: Share of target images, in [0, 1].
        batch_size: Images of a batch.
        num_batches: Batches of the phase.

    Returns:
        Number of the first batch with so many target images, by their number; as `TwoDomainSampler` spreads them.
    """
    exact = Fraction(share).limit_denominator(1000)
    found: dict[int, int] = {}
    # After as many batches as the denominator says the stream repeats itself.
    for number in range(min(num_batches, exact.denominator)):
        first = number * batch_size
        count = int((first + batch_size) * exact) - int(first * exact)
        found.setdefault(count, number)
    return found


def batch_mixtures(runner: Runner) -> list[BatchMixture]:
    """Every distinct composition of the batches of a run.

    Args:
        runner: A runner that trains, whose `SelfTrainingHook`, if it has one, has laid out the phases.

    Returns:
        Mixtures, in the order of their first occurrence.
    """
    loader = runner.train_dataloader
    batch_size = loader.batch_size or getattr(loader.batch_sampler, "batch_size", 1)
    phases = getattr(unwrapped(runner), "phases", ())
    if not isinstance(loader.sampler, TwoDomainSampler):
        phase = Phase(0, 0, runner.max_iters, 0.0, None, labeled=False)
        return [BatchMixture(phase, batch_size, 0, 0)]
    if not phases:
        share = float(loader.sampler.target_share)
        phases = [Phase(0, 0, runner.max_iters, share, None, labeled=False)]
    found: dict[tuple, BatchMixture] = {}
    for phase in phases:
        counts = compositions(phase.target_share, batch_size, phase.end - phase.begin)
        for num_target, number in counts.items():
            position = (phase.begin + number) * batch_size
            mixture = BatchMixture(phase, batch_size - num_target, num_target, position)
            found.setdefault(mixture.kind, mixture)
    return list(found.values())


def draw_batch(runner: Runner, mixture: BatchMixture) -> Any:
    """Load one batch of a mixture beside the run: its sampler and its loader's iterator stay where they are.

    Target images of a round that will have pseudo labels get labels in which every class occurs.

    Args:
        runner: The runner.
        mixture: What the batch shall hold.

    Returns:
        The collated batch.
    """
    loader = runner.train_dataloader
    number = mixture.num_source + mixture.num_target
    keys: Sequence[Any] = [index % len(loader.dataset) for index in range(number)]
    if isinstance(loader.sampler, TwoDomainSampler):
        sampler = copy.copy(loader.sampler)
        sampler.begin_phase(
            phase=mixture.phase.number,
            first_position=mixture.phase.begin * number,
            target_share=mixture.phase.target_share,
        )
        sampler.skip(mixture.position)
        keys = list(islice(iter(sampler), number))
    samples = [loader.dataset[key] for key in keys]
    if mixture.phase.labeled:
        for sample in samples:
            _fill_labels(sample["data_samples"], unwrapped(runner).num_classes)
    return loader.collate_fn(samples)


def _fill_labels(sample: Any, num_classes: int) -> None:
    """Give a target image labels in place of those that its round will make."""
    if sample.metainfo.get("domain") == "target" and "gt_sem_seg" in sample:
        size = sample.gt_sem_seg.data.shape
        labels = torch.arange(size.numel()).remainder(num_classes).view(size)
        sample.gt_sem_seg = PixelData(data=labels)
