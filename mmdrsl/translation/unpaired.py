"""Feeds a translator: one source and one target image per sample of a two-domain stream."""

from __future__ import annotations

from typing import Any

from mmseg.models.data_preprocessor import SegDataPreProcessor
from mmseg.registry import DATA_SAMPLERS, MODELS

from mmdrsl.datasets.samplers.two_domain_sampler import TwoDomainSampler
from mmdrsl.datasets.two_domain import TwoDomainDataset
from mmdrsl.models.label_maps import stack_labels


@DATA_SAMPLERS.register_module()
class UnpairedSampler(TwoDomainSampler):
    """A `TwoDomainSampler` that alternates source and target from the first image on.

    An even batch size then holds as many source as target images.

    Args:
        dataset: The two-domain dataset; it has a target.
        seed: Seed of the stream; None takes one shared by all ranks.
    """

    def __init__(self, dataset: TwoDomainDataset, *, seed: int | None = None) -> None:
        super().__init__(dataset, seed=seed)
        self.begin_phase(phase=0, first_position=0, target_share=0.5)


@MODELS.register_module()
class UnpairedDataPreprocessor(SegDataPreProcessor):
    """From a batch that mixes domains to the image dictionary of MMagic's CycleGAN.

    Takes the arguments of `SegDataPreProcessor`; a mean and standard deviation of 127.5 give values in [-1, 1].
    """

    def forward(self, data: dict, training: bool = False) -> dict[str, Any]:
        """Normalize, stack and split a batch by domain.

        Args:
            data: Collated batch with ``inputs`` and ``data_samples`` tagged with ``domain`` (source where missing); or
                the result of an earlier call, which is returned as it is.
            training: Whether the batch is one of training, which pads the images.

        Returns:
            ``inputs`` with ``img_source`` and ``img_target``, each (B, 3, H, W), as far as the batch has them, and
            ``data_samples`` of the source; in training also ``labels`` of the source, (B, H, W), int64.

        Raises:
            ValueError: A training batch lacks a domain.
        """
        if isinstance(data["inputs"], dict):
            return data
        data = super().forward(data, training)
        samples = data["data_samples"]
        domains = [sample.metainfo.get("domain", "source") for sample in samples]
        index = {
            name: [position for position, domain in enumerate(domains) if domain == name]
            for name in ("source", "target")
        }
        if training and not all(index.values()):
            raise ValueError(
                f"A translator trains on both domains, found a batch of {domains}; use UnpairedSampler and an even "
                "batch_size."
            )
        source = [samples[position] for position in index["source"]]
        result: dict[str, Any] = {
            "inputs": {
                f"img_{name}": data["inputs"][chosen] for name, chosen in index.items() if chosen
            },
            "data_samples": source,
        }
        if training:
            result["labels"] = stack_labels(source)
        return result
