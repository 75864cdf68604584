"""Writes figures about the modes into the log."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch import Tensor

from mmdrsl.engine.adaptation_hook import AdaptationHook
from mmdrsl.engine.model_access import unwrapped
from mmdrsl.methods.drsl import functional, mode_statistics
from mmdrsl.methods.drsl.mmdl_head import MMDLHead
from mmdrsl.methods.drsl.source_sample import find_mode_head
from mmdrsl.models.batch_norm import evaluation_pass
from mmdrsl.models.feature_maps import decode
from mmdrsl.models.label_maps import resize_labels, stack_labels
from mmdrsl.models.segmentors.uda_segmentor import UDASegmentor


@HOOKS.register_module()
class ModeMonitorHook(AdaptationHook):
    """Looks at the modes through the batch of every n-th step, in evaluation mode and without gradients.

    Logged under ``modes/`` on the first rank, from its own batch; what a batch cannot show is left out:

    - ``usage_entropy``: in [0, 1], mean over classes; not for one mode per class.
    - ``within_variance_<domain>``: mean squared distance to the centroid of a mode.
    - ``centroid_gap``: squared distance of the domains' centroids of a mode; mean, and by class name.
    - ``agreement_<domain>``: share of pixels that both heads give the same class.
    - ``kept_share``: share of target pixels with a pseudo label; all, and by the name of the class predicted now.

    Args:
        interval: Steps between two looks, >= 1. Each costs about a third of a step.
        per_class: Log the values of single classes too.
        head: Name of the `MMDLHead` in the adaptor.

    Raises:
        ValueError: `interval` is below 1.
    """

    acts_in_warmup = True
    changes_segmentor = False

    def __init__(self, *, interval: int = 50, per_class: bool = True, head: str = "mmdl") -> None:
        if interval < 1:
            raise ValueError(f"ModeMonitorHook.interval must be >= 1, found {interval}.")
        self.interval = interval
        self.per_class = per_class
        self.head = head

    def before_train(self, runner: Runner) -> None:
        """Check that the model has the head.

        Raises:
            ValueError: It has not.
            TypeError: The model is no `UDASegmentor`.
        """
        model = unwrapped(runner)
        if not isinstance(model, UDASegmentor):
            raise TypeError(
                f"ModeMonitorHook compares domains and needs a UDASegmentor, found {type(model).__name__}."
            )
        find_mode_head(model, self.head)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Log, where this step is one of those."""
        if (runner.iter + 1) % self.interval or not is_main_process():
            return
        model = unwrapped(runner)
        names = runner.train_dataloader.dataset.metainfo["classes"]
        values = mode_figures(model, find_mode_head(model, self.head), data_batch, names)
        for name, value in values.items():
            if self.per_class or "." not in name:
                runner.message_hub.update_scalar(f"train/modes/{name}", value)


@torch.no_grad()
def mode_figures(
    model: UDASegmentor, head: MMDLHead, batch: dict, classes: tuple[str, ...]
) -> dict[str, float]:
    """All figures of one batch.

    Args:
        model: The adaptor; its mode (train or eval) is restored.
        head: Its multi-modal distribution head.
        batch: Collated batch as the loader gives it.
        classes: Names of the classes.

    Returns:
        Values by name; those of a class are named ``<figure>.<class>``.
    """
    data = model.data_preprocessor(batch, True)
    domains = [sample.metainfo.get("domain", "source") for sample in data["data_samples"]]
    num_source = domains.count("source")
    parts = {"source": slice(None, num_source), "target": slice(num_source, None)}
    outputs = []
    with evaluation_pass(model):
        for part in parts.values() if model.bn_mode == "domain_specific" else [slice(None)]:
            if domains[part]:
                decoded = decode(model, model.extract_feat(data["inputs"][part]))
                outputs.append((head(decoded.maps), decoded.logits))
    embeddings, logits = (torch.cat(maps) for maps in zip(*outputs, strict=True))
    size = embeddings.shape[2:]
    logits = torch.nn.functional.interpolate(logits, size=size, mode="bilinear")
    labels = resize_labels(stack_labels(data["data_samples"]), size)
    agreement = head.log_posterior(embeddings).argmax(dim=1) == logits.argmax(dim=1)
    num_groups = head.num_classes * head.num_modes
    figures: dict[str, float | Tensor] = {}
    shares, members, pixels = [], [], {}
    for domain, part in parts.items():
        if not domains[part]:
            continue
        figures[f"agreement_{domain}"] = agreement[part].float().mean()
        own, own_labels = functional.select_valid(embeddings[part], labels[part], head.num_classes)
        share = functional.mode_responsibilities(
            functional.squared_distances(own, head.modes()), own_labels, head.bandwidth
        )
        groups = own_labels * head.num_modes + share.argmax(dim=1)
        variance = mode_statistics.within_variance(own, groups, num_groups)
        figures[f"within_variance_{domain}"] = variance.nanmean()
        pixels[domain] = (own, groups)
        shares.append(share)
        members.append(own_labels)
    if head.num_modes > 1:
        entropy = mode_statistics.usage_entropy(
            torch.cat(shares), torch.cat(members), head.num_classes
        )
        figures["usage_entropy"] = entropy.nanmean()
    if len(pixels) == 2:
        gaps = mode_statistics.centroid_gaps(
            *pixels["source"], *pixels["target"], (head.num_classes, head.num_modes)
        )
        figures["centroid_gap"] = gaps.nanmean()
        figures.update(zip((f"centroid_gap.{name}" for name in classes), gaps, strict=True))
    if "target" in pixels:
        target = parts["target"]
        kept = mode_statistics.kept_share(
            labels[target], logits[target].argmax(dim=1), head.num_classes
        )
        figures["kept_share"] = len(pixels["target"][0]) / labels[target].numel()
        figures.update(zip((f"kept_share.{name}" for name in classes), kept, strict=True))
    return {name: float(value) for name, value in figures.items() if float(value) == float(value)}
