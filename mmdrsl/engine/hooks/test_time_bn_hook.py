"""Mixes statistics of unlabeled target images into a trained model before it predicts."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.model import BaseTTAModel
from mmengine.runner import Runner
from mmseg.registry import DATASETS, HOOKS

from mmdrsl.engine.adaptation_hook import AdaptationHook
from mmdrsl.engine.bn_statistics import (
    check_sample,
    check_takes_statistics,
    mix_target_statistics,
)
from mmdrsl.engine.model_access import unwrapped
from mmdrsl.models.segmentors.uda_segmentor import UDASegmentor
from mmdrsl.renamed import renamed_arguments


@HOOKS.register_module()
@renamed_arguments(target_share="target_weight")
class TestTimeBNHook(AdaptationHook):
    """Mixes statistics of target images into the running statistics of a checkpoint before it is tested.

    Adaptation of the statistics (after Schneider et al. 2020), on images of the target's training part: no weight is
    trained, no label is read, and the checkpoint's file stays as it is. Training and its evaluations are left alone;
    `AdaBNHook` is for those.

    Args:
        dataset: Config of an `UnlabelledDataset`; its pipeline is not used.
        target_weight: Weight of the target in the statistics, in (0, 1]; 1 is AdaBN (Li et al. 2016). The rest are
            those of the checkpoint.
        num_images: Images to take, >= 2, evenly spaced over the dataset and shared out over the ranks.
        batch_size: Images per forward pass, >= 2; images of different size are cut to the smallest of their batch.
        pipeline: Transforms that load a target image, without random ones, such as those of labeling; by default the
            whole image at its own size.

    Raises:
        ValueError: A number is below 2, or the weight outside (0, 1].
    """

    acts_in_warmup = False

    def __init__(
        self,
        *,
        dataset: dict,
        target_weight: float = 0.25,
        num_images: int = 200,
        batch_size: int = 8,
        pipeline: Sequence[dict] | None = None,
    ) -> None:
        check_sample(target_weight=target_weight, num_images=num_images, batch_size=batch_size)
        self.dataset = dataset
        self.target_weight = target_weight
        self.num_images = num_images
        self.batch_size = batch_size
        self.pipeline = pipeline

    def before_test(self, runner: Runner) -> None:
        """Mix the statistics into the network that predicts.

        Raises:
            TypeError: The model is no `UDASegmentor`.
            ValueError: There is a single image, or the network has no batch normalization that can take statistics.
        """
        model = unwrapped(runner)
        if isinstance(model, BaseTTAModel):
            model = model.module
        if not isinstance(model, UDASegmentor):
            raise TypeError(
                f"TestTimeBNHook needs a UDASegmentor as model, found {type(model).__name__}: wrap the "
                "segmentor as model=dict(type='UDASegmentor', segmentor=...)."
            )
        networks = model.networks(of_teacher=model.predict_with_teacher)
        # Before the images are looked for.
        check_takes_statistics(networks.train()["segmentor"])
        mix_target_statistics(
            model,
            networks,
            DATASETS.build(self.dataset),
            weight=self.target_weight,
            num_images=self.num_images,
            batch_size=self.batch_size,
            pipeline=self.pipeline,
        )
