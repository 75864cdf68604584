"""CyCADA's image translation (Hoffman et al. 2018) on MMagic's CycleGAN; importing this module needs MMagic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from mmengine import MessageHub
from mmengine.dist import get_world_size
from mmengine.optim import OptimWrapperDict
from torch import Tensor, nn

from mmdrsl.translation.mmagic_loader import load_mmagic
from mmdrsl.translation.semantic_consistency import SemanticConsistency
from mmdrsl.translation.shortcut_generator import ShortcutGenerator  # noqa: F401 - registers it

load_mmagic()

from mmagic.models.editors.cyclegan import CycleGAN  # noqa: E402
from mmagic.registry import MODELS  # noqa: E402
from mmagic.structures import DataSample  # noqa: E402

DOMAINS = ("source", "target")
_BUFFER_PREFIX = "image_buffers."


@MODELS.register_module()
class CyCADA(CycleGAN):
    """CycleGAN with semantic consistency; generators, discriminators, image buffer and training step are MMagic's.

    The generators minimize ``GAN(target) + GAN(source) + cycle + identity + semantic`` with least-squares adversarial
    terms, the discriminators half the sum of their errors on real images and on images from a buffer of earlier
    translations (MMagic logs half of that). Beyond the parent: the identity pass is not computed at weight 0; the image
    buffers are part of the checkpoint; testing translates from source to target alone and leaves the mode as it is.

    Images are red, green, blue in [-1, 1], shape (B, 3, H, W). Trains on one device.

    Args:
        generator: Config of a generator that normalizes each image by itself (``mmagic.ResnetGenerator`` with ``IN``).
        discriminator: Config of a discriminator; None where the model only translates.
        data_preprocessor: Config of `UnpairedDataPreprocessor`.
        semantic: Arguments of `SemanticConsistency`; None trains a plain CycleGAN.
        cycle_weight: Weight of the cycle loss, >= 0.
        identity_weight: Weight of the identity loss, >= 0.
        buffer_size: Images that each buffer keeps; 0 keeps none.

    Raises:
        ValueError: A weight is negative, or the generator normalizes over the batch or by running statistics.
    """

    def __init__(
        self,
        *,
        generator: dict,
        discriminator: dict | None,
        data_preprocessor: dict,
        semantic: dict | None = None,
        cycle_weight: float = 10.0,
        identity_weight: float = 5.0,
        buffer_size: int = 50,
    ) -> None:
        if min(cycle_weight, identity_weight) < 0:
            raise ValueError(
                f"cycle_weight and identity_weight must not be negative, found {cycle_weight} and {identity_weight}."
            )
        super().__init__(
            generator=generator,
            discriminator=discriminator,
            default_domain="target",
            reachable_domains=list(DOMAINS),
            related_domains=list(DOMAINS),
            data_preprocessor=data_preprocessor,
            buffer_size=buffer_size,
            loss_config=dict(cycle_loss_weight=cycle_weight, id_loss_weight=identity_weight),
        )
        _check_normalization(self.generators)
        self.semantic = None if semantic is None else SemanticConsistency(**semantic)
        self._labels: Tensor | None = None

    def init_weights(self) -> None:
        """Initialize the networks as MMagic does and read the frozen segmentor's weights."""
        # The parent's bookkeeping of what was initialized fails on networks that are no layer themselves.
        for networks in (self.generators, self.discriminators or {}):
            for network in networks.values():
                network.init_weights()
        if self.semantic is not None:
            self.semantic.load_weights()

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Classes that the judging segmentor was trained for, as its checkpoint notes them; None where nothing does."""
        return None if self.semantic is None else self.semantic.classes

    def train_step(self, data: dict, optim_wrapper: OptimWrapperDict) -> dict[str, Tensor]:
        """MMagic's step: update the discriminators, then the generators.

        Args:
            data: Collated batch of both domains with labels of the source.
            optim_wrapper: Wrappers ``generators`` and ``discriminators``.

        Returns:
            Values to log.

        Raises:
            ValueError: On several ranks, whose gradients MMagic's step does not average.
        """
        if get_world_size() > 1:
            raise ValueError(
                f"A translator trains on one device, found {get_world_size()} ranks: MMagic's step does not average "
                "gradients. Start without --launcher; tools/translate_dataset.py does use all ranks."
            )
        data = self.data_preprocessor(data, True)
        # MMagic's step hands only images to the losses.
        self._labels = data["labels"]
        try:
            return super().train_step(data, optim_wrapper)
        finally:
            self._labels = None

    def _get_gen_loss(self, outputs: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        generators = self.get_module(self.generators)
        discriminators = self.get_module(self.discriminators)
        losses = {}
        for domain in DOMAINS:
            score = discriminators[domain](outputs[f"fake_{domain}"])
            losses[f"loss_gan_g_{domain}"] = F.mse_loss(score, torch.ones_like(score))
        losses["loss_cycle"] = self.loss_config["cycle_loss_weight"] * sum(
            F.l1_loss(outputs[f"cycle_{domain}"], outputs[f"real_{domain}"]) for domain in DOMAINS
        )
        if self.loss_config["id_loss_weight"] > 0:
            losses["loss_identity"] = self.loss_config["id_loss_weight"] * sum(
                F.l1_loss(generators[domain](outputs[f"real_{domain}"]), outputs[f"real_{domain}"])
                for domain in DOMAINS
            )
        losses.update(self._semantic_losses(outputs))
        return self.parse_losses(losses)

    def _semantic_losses(self, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        if self.semantic is None:
            return {}
        weight = self.semantic.weight_at(MessageHub.get_current_instance().get_info("iter"))
        if weight == 0:
            return {}
        source, target = self.semantic(
            fake_target=outputs["fake_target"],
            labels=self._labels,
            real_target=outputs["real_target"],
            fake_source=outputs["fake_source"],
        )
        return {"loss_semantic_source": weight * source, "loss_semantic_target": weight * target}

    def forward_test(self, img: Tensor, target_domain: str, **kwargs: Any) -> dict[str, Tensor]:
        """Translate images in one direction, in the mode that the model is in.

        The parent switches to training mode so that instance normalization uses each image's own statistics. The
        generators here have no other normalization, which the constructor checks, so the mode does not matter.

        Args:
            img: Images, red, green, blue in [-1, 1], (B, 3, H, W).
            target_domain: ``source`` or ``target``: the look wanted.
            **kwargs: Passed on to the generator.

        Returns:
            ``source`` (the images) and ``target`` (their translations).
        """
        return {
            "source": img,
            "target": self.translation(img, target_domain=target_domain, **kwargs),
        }

    @torch.no_grad()
    def test_step(self, data: dict) -> list:
        """Translate source images to the look of the target, and nothing else.

        Args:
            data: Collated batch.

        Returns:
            A data sample per image with ``fake_target``: red, green, blue in [0, 255], (3, H, W).
        """
        images = self.data_preprocessor(data, False)["inputs"]["img_source"]
        translated = self.forward_test(images, target_domain="target")["target"]
        return [DataSample(fake_target=(image + 1) * 127.5) for image in translated]

    val_step = test_step

    def _save_to_state_dict(self, destination: dict, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for domain, buffer in self.image_buffers.items():
            if self.buffer_size > 0 and buffer.image_buffer:
                destination[f"{prefix}{_BUFFER_PREFIX}{domain}"] = torch.cat(buffer.image_buffer)

    def _load_from_state_dict(
        self, state_dict: dict, prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        device = next(self.parameters()).device
        for domain, buffer in self.image_buffers.items():
            images = state_dict.pop(f"{prefix}{_BUFFER_PREFIX}{domain}", None)
            if images is not None and self.buffer_size > 0:
                # Half precision where --amp trained so far, which a training without it could not read.
                kept = images[: self.buffer_size].to(device).float()
                buffer.image_buffer = list(kept.split(1))
                buffer.img_num = len(kept)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def _check_normalization(generators: Mapping[str, nn.Module]) -> None:
    """Refuse layers that behave differently in training and evaluation mode, or mix the images of a batch."""
    for domain, generator in generators.items():
        for name, layer in generator.named_modules():
            running = getattr(layer, "track_running_stats", False)
            if isinstance(layer, nn.Dropout | nn.modules.batchnorm._BatchNorm) or running:
                raise ValueError(
                    f"The generator of the {domain} has {type(layer).__name__} at {name}, which makes a translation "
                    "depend on the mode or on other images; use norm_cfg=dict(type='IN') and use_dropout=False."
                )
