"""The mathematics of mode learning and mode alignment, as pure functions.

The publication (Iqbal et al. 2022, arXiv 2206.09683) describes these losses in words only; the formulas are this
project's own, see docs/method.md. Shapes in this file: N pixels, C classes, K modes per class, D embedding dimensions.
Pixels with an ignored label are removed before any of these functions is called (`select_valid`), so labels here are
always in [0, C). `combine` adds a sum up over the ranks of a distributed run (`rank_sums.sum_over_ranks`), which gives
means over the global batch; None means over this rank's pixels alone.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

NORM_EPSILON = 1e-6
# Probabilities that were stored in half precision may be exactly zero.
PROBABILITY_FLOOR = 1e-6

Combine = Callable[[Tensor], Tensor]


def normalise(vectors: Tensor) -> Tensor:
    """Scale vectors to unit length in float32 (float64 stays float64).

    Args:
        vectors: Shape (..., D), any floating dtype.

    Returns:
        Shape (..., D). A zero vector stays zero and has finite gradients.
    """
    if vectors.dtype in (torch.float16, torch.bfloat16):
        vectors = vectors.float()
    return F.normalize(vectors, dim=-1, eps=NORM_EPSILON)


def squared_distances(embeddings: Tensor, representatives: Tensor) -> Tensor:
    """Squared Euclidean distances of unit vectors, ``2 - 2 <e, r>``.

    Args:
        embeddings: Unit vectors, shape (N, D).
        representatives: Unit vectors, shape (C, K, D).

    Returns:
        Shape (N, C, K), in [0, 4].
    """
    num_classes, num_modes, dim = representatives.shape
    # Autocast would compute the product in half precision, too coarse for a narrow bandwidth.
    with torch.autocast(embeddings.device.type, enabled=False):
        cosines = embeddings @ representatives.reshape(num_classes * num_modes, dim).t()
    return (2 - 2 * cosines).clamp(min=0).reshape(-1, num_classes, num_modes)


def class_log_posterior(
    distances: Tensor, bandwidth: float, class_frequency: Tensor | None = None
) -> Tensor:
    """Log posterior of each class under an equal-weight mixture of Gaussian modes, by Bayes' rule.

    Args:
        distances: Squared distances, shape (N, C, K).
        bandwidth: Standard deviation of every mode, > 0.
        class_frequency: Prior of the classes, shape (C,), > 0; None gives all the same.

    Returns:
        Log probabilities, shape (N, C); each row's probabilities sum to 1.
    """
    scores = -distances / (2 * bandwidth**2)
    if class_frequency is not None:
        scores = scores + class_frequency.log()[None, :, None]
    return torch.logsumexp(scores, dim=2) - torch.logsumexp(scores.flatten(1), dim=1, keepdim=True)


def own_class_distances(distances: Tensor, labels: Tensor) -> Tensor:
    """Distances of each pixel to the modes of its own class.

    Args:
        distances: Shape (N, C, K).
        labels: Class of each pixel, shape (N,), in [0, C).

    Returns:
        Shape (N, K).
    """
    return distances[torch.arange(len(labels), device=labels.device), labels]


def mode_responsibilities(distances: Tensor, labels: Tensor, bandwidth: float) -> Tensor:
    """Probability of each mode within the pixel's own class.

    Args:
        distances: Squared distances, shape (N, C, K).
        labels: Shape (N,), in [0, C).
        bandwidth: Standard deviation of every mode, > 0.

    Returns:
        Shape (N, K); rows sum to 1.
    """
    return F.softmax(-own_class_distances(distances, labels) / (2 * bandwidth**2), dim=1)


def class_distances(distances: Tensor, reduction: str = "min") -> Tensor:
    """Distance of each pixel to each class.

    Args:
        distances: Squared distances, shape (N, C, K).
        reduction: ``min`` takes the nearest mode; ``softmin`` is RepMet's smooth version
            ``-log(mean_k exp(-2 d)) / 2`` (normalised by K, so that it lies between minimum and mean).

    Returns:
        Shape (N, C).

    Raises:
        ValueError: Unknown reduction.
    """
    if reduction == "min":
        return distances.amin(dim=2)
    if reduction == "softmin":
        log_mean = torch.logsumexp(-2 * distances, dim=2) - torch.log(
            distances.new_tensor(float(distances.shape[2]))
        )
        return -log_mean / 2
    raise ValueError(f"reduction must be 'min' or 'softmin', found {reduction!r}.")


def margin_loss(per_class: Tensor, labels: Tensor, margin: float) -> Tensor:
    """Hinge between the own class and the nearest other class, per pixel.

    Args:
        per_class: Distance to each class, shape (N, C), C >= 2.
        labels: Shape (N,), in [0, C).
        margin: Required gap in squared distance, >= 0.

    Returns:
        ``max(0, d_own - min_other d + margin)``, shape (N,).
    """
    own = F.one_hot(labels, per_class.shape[1]).bool()
    nearest_other = per_class.masked_fill(own, torch.inf).amin(dim=1)
    return (per_class.gather(1, labels[:, None])[:, 0] - nearest_other + margin).clamp(min=0)


def _here(local: Tensor) -> Tensor:
    """The sum over a single rank."""
    return local


def class_balanced_mean(
    values: Tensor,
    labels: Tensor,
    num_classes: int,
    weights: Tensor | None = None,
    combine: Combine | None = None,
) -> Tensor:
    """Mean over the classes that occur of the mean over their pixels.

    Args:
        values: One value per pixel, shape (N,).
        labels: Shape (N,), in [0, C).
        num_classes: C.
        weights: Optional factor per pixel in [0, 1], shape (N,). It scales a pixel's value; it does not renormalise.
        combine: See the head of this file.

    Returns:
        A scalar; with N = 0 a zero that is connected to the graph of `values`.
    """
    combine = combine or _here
    if weights is not None:
        values = values * weights
    counts = combine(torch.bincount(labels, minlength=num_classes).to(values.dtype))
    sums = combine(values.new_zeros(num_classes).index_add(0, labels, values))
    return (sums / counts.clamp(min=1)).sum() / (counts > 0).sum().clamp(min=1)


def pixel_mean(
    values: Tensor, weights: Tensor | None = None, combine: Combine | None = None
) -> Tensor:
    """Plain mean over pixels.

    Args:
        values: One value per pixel, shape (N,).
        weights: Optional factor per pixel in [0, 1], shape (N,). It scales a pixel's value; it does not renormalise.
        combine: See the head of this file.

    Returns:
        A scalar; with N = 0 a zero that is connected to the graph of `values`.
    """
    combine = combine or _here
    count = combine(values.new_tensor(float(len(values))))
    total = values.sum() if weights is None else (values * weights).sum()
    return combine(total) / count.clamp(min=1)


def mode_usage_penalty(
    responsibilities: Tensor,
    labels: Tensor,
    num_classes: int,
    min_pixels: int = 64,
    combine: Combine | None = None,
) -> Tensor:
    """Gap between the largest possible and the actual entropy of a class's mean mode usage.

    Args:
        responsibilities: Shape (N, K), rows sum to 1.
        labels: Shape (N,), in [0, C).
        num_classes: C.
        min_pixels: Classes with fewer pixels are left out: their usage says nothing.
        combine: See the head of this file.

    Returns:
        ``mean_c(log K - H(mean_n responsibilities))``, a scalar in [0, log K]; a connected zero where no class counts.
    """
    combine = combine or _here
    num_modes = responsibilities.shape[1]
    counts = combine(torch.bincount(labels, minlength=num_classes).to(responsibilities.dtype))
    sums = combine(
        responsibilities.new_zeros(num_classes, num_modes).index_add(0, labels, responsibilities)
    )
    usage = sums / counts.clamp(min=1)[:, None]
    entropy = -torch.xlogy(usage, usage.clamp(min=1e-12)).sum(dim=1)
    counted = (counts >= min_pixels).to(responsibilities.dtype)
    gap = torch.log(responsibilities.new_tensor(float(num_modes))) - entropy
    return (gap * counted).sum() / counted.sum().clamp(min=1)


def mode_spread_penalty(representatives: Tensor, min_distance: float = 0.1) -> Tensor:
    """Hinge that keeps the modes of one class apart.

    Args:
        representatives: Unit vectors, shape (C, K, D).
        min_distance: Squared distance below which two modes of a class repel each other.

    Returns:
        Mean of ``max(0, min_distance - d2)`` over all pairs of modes of one class; a connected zero for K = 1.
    """
    num_modes = representatives.shape[1]
    if num_modes == 1:
        return representatives.sum() * 0
    first, second = torch.triu_indices(
        num_modes, num_modes, offset=1, device=representatives.device
    )
    cosines = (representatives[:, first] * representatives[:, second]).sum(dim=2)
    return (min_distance - (2 - 2 * cosines)).clamp(min=0).mean()


def select_valid(
    embeddings: Tensor, labels: Tensor, num_classes: int, weights: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Flatten dense maps and drop the pixels whose label is not a class.

    Args:
        embeddings: Shape (B, D, H, W).
        labels: Shape (B, H, W), any integer dtype; every value outside [0, C) counts as ignored.
        num_classes: C.
        weights: Optional, shape (B, H, W).

    Returns:
        Embeddings (N, D), labels (N,) int64, and weights (N,) or None.
    """
    flat_labels = labels.reshape(-1).long()
    # Indices, not a mask: a GPU waits for each masked selection to learn its size.
    valid = ((flat_labels >= 0) & (flat_labels < num_classes)).nonzero()[:, 0]
    flat = embeddings.permute(0, 2, 3, 1).reshape(-1, embeddings.shape[1])[valid]
    return flat, flat_labels[valid], None if weights is None else weights.reshape(-1)[valid]


def sample_class_balanced(
    labels: Tensor, num_classes: int, max_per_class: int, generator: torch.Generator | None = None
) -> Tensor:
    """Draw at most `max_per_class` pixels of each class, uniformly and without replacement.

    Args:
        labels: Shape (N,), in [0, C).
        num_classes: C.
        max_per_class: Upper bound per class, >= 1.
        generator: Source of randomness; torch's default where None.

    Returns:
        Indices into `labels`, shape (M,), M <= C * max_per_class.
    """
    noise = torch.rand(labels.shape, generator=generator, device=labels.device, dtype=torch.float64)
    order = torch.argsort(labels + noise)
    counts = torch.bincount(labels, minlength=num_classes)
    starts = counts.cumsum(0) - counts
    position = torch.arange(len(labels), device=labels.device) - starts[labels[order]]
    return order[position < max_per_class]


def assign_modes(
    responsibilities: Tensor, stochastic: bool = True, generator: torch.Generator | None = None
) -> Tensor:
    """Choose one mode for each pixel.

    Args:
        responsibilities: Shape (N, K), rows sum to 1.
        stochastic: Draw from the categorical distribution; otherwise take the most probable mode.
        generator: Source of randomness; torch's default where None.

    Returns:
        Mode indices in [0, K), shape (N,).
    """
    if not stochastic or len(responsibilities) == 0:
        return responsibilities.argmax(dim=1)
    return torch.multinomial(responsibilities.detach(), 1, generator=generator)[:, 0]


def _group_members(groups: Tensor, num_groups: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return (members sorted by group, start of each group, size of each group)."""
    sizes = torch.bincount(groups, minlength=num_groups)
    return torch.argsort(groups, stable=True), sizes.cumsum(0) - sizes, sizes


def _draw(
    members: tuple[Tensor, Tensor, Tensor],
    chosen: Tensor,
    num_pairs: int,
    generator: torch.Generator | None,
) -> tuple[Tensor, Tensor]:
    """Draw two different members of each chosen group, `num_pairs` times; shapes (M, P)."""
    order, starts, sizes = members
    size = sizes[chosen][:, None]
    noise = torch.rand(2, len(chosen), num_pairs, generator=generator, device=order.device)
    first = torch.minimum((noise[0] * size).long(), size - 1)
    other = (first + 1 + torch.minimum((noise[1] * (size - 1)).long(), size - 2)) % size
    return order[starts[chosen][:, None] + first], order[starts[chosen][:, None] + other]


def fill_rare_groups(
    values: Tensor,
    groups: Tensor,
    memory: Tensor,
    memory_groups: Tensor,
    num_groups: int,
    min_pixels: int,
) -> tuple[Tensor, Tensor]:
    """Add remembered pixels to the groups that have too few of their own.

    Args:
        values: Embeddings, shape (N, D).
        groups: Mode of each, shape (N,), in [0, num_groups).
        memory: Remembered embeddings, shape (M, D); they get no gradient.
        memory_groups: Mode of each, shape (M,).
        num_groups: C * K.
        min_pixels: Groups with fewer members than this are filled up with all that is remembered of them.

    Returns:
        Embeddings (N', D) and modes (N',), the given ones first.
    """
    rare = (torch.bincount(groups, minlength=num_groups) < min_pixels)[memory_groups]
    return (
        torch.cat([values, memory[rare].detach().to(values)]),
        torch.cat([groups, memory_groups[rare]]),
    )


def mode_alignment(
    source: Tensor,
    source_groups: Tensor,
    target: Tensor,
    target_groups: Tensor,
    num_groups: int,
    *,
    distance: str = "pair",
    num_pairs: int = 32,
    min_pixels: int = 4,
    margin: float = 0.0,
    target_weights: Tensor | None = None,
    generator: torch.Generator | None = None,
    combine: Combine | None = None,
) -> Tensor:
    """Distance between source and target pixels that map to the same mode, averaged over the shared modes.

    Args:
        source: Unit embeddings of source pixels, shape (N_s, D).
        source_groups: Mode of each, ``class * K + mode``, shape (N_s,).
        target: Unit embeddings of target pixels, shape (N_t, D).
        target_groups: Shape (N_t,).
        num_groups: C * K.
        distance: ``pair`` is the mean squared distance of random cross-domain pairs (the literal reading of the
            publication's abstract); ``energy`` is the energy distance ``2 E|s-t| - E|s-s'| - E|t-t'|`` (Szekely and
            Rizzo 2013), which is zero for equal distributions where ``pair`` is not; ``mean`` is twice the squared
            distance of the two mode means, computed from all pixels of the mode.
        num_pairs: Pairs drawn per mode and expectation.
        min_pixels: A mode counts only where both domains have at least this many pixels, >= 2.
        margin: For ``pair`` only, squared distance below which pairs are left alone.
        target_weights: Optional pseudo-label weight of each target pixel in [0, 1], shape (N_t,).
        generator: Source of randomness; torch's default where None.
        combine: See the head of this file. Mode means are then those of the global batch; pairs stay within a rank,
            and the mean is over the shared modes of all ranks.

    Returns:
        A scalar; a zero connected to both graphs where no mode is shared.

    Raises:
        ValueError: Unknown distance or `min_pixels` below 2.
    """
    if distance not in ("pair", "energy", "mean"):
        raise ValueError(f"distance must be 'pair', 'energy' or 'mean', found {distance!r}.")
    if min_pixels < 2:
        raise ValueError(
            f"min_pixels must be at least 2 (a pair needs two pixels), found {min_pixels}."
        )
    combine = combine or _here
    if target_weights is None:
        target_weights = target.new_ones(len(target))
    if distance == "mean":
        means, sizes = [], []
        for values, groups in ((source, source_groups), (target, target_groups)):
            sums = values.new_zeros(num_groups, values.shape[1]).index_add(0, groups, values)
            size = combine(torch.bincount(groups, minlength=num_groups).to(values.dtype))
            means.append(combine(sums) / size.clamp(min=1)[:, None])
            sizes.append(size)
        weight = target_weights.new_zeros(num_groups).index_add(0, target_groups, target_weights)
        weight = combine(weight) / sizes[1].clamp(min=1)
        shared = (sizes[0] >= min_pixels) & (sizes[1] >= min_pixels)
        gaps = weight * 2 * (means[0] - means[1]).square().sum(dim=1)
        return (gaps * shared).sum() / shared.sum().clamp(min=1)
    source_members = _group_members(source_groups, num_groups)
    target_members = _group_members(target_groups, num_groups)
    shared = (source_members[2] >= min_pixels) & (target_members[2] >= min_pixels)
    chosen = shared.nonzero()[:, 0]
    first_s, other_s = _draw(source_members, chosen, num_pairs, generator)
    first_t, other_t = _draw(target_members, chosen, num_pairs, generator)
    values = (source[first_s] - target[first_t]).square().sum(dim=2)
    if distance == "pair":
        values = (values - margin).clamp(min=0)
    else:
        within_s = (source[first_s] - source[other_s]).square().sum(dim=2)
        within_t = (target[first_t] - target[other_t]).square().sum(dim=2)
        cross, within_s, within_t = (
            (value + NORM_EPSILON**2).sqrt() for value in (values, within_s, within_t)
        )
        values = 2 * cross - within_s - within_t
    num_values = combine(values.new_tensor(float(values.numel())))
    return combine((target_weights[first_t] * values).sum()) / num_values.clamp(min=1)


def model_regulariser(logits: Tensor, labels: Tensor, ignore_index: int = 255) -> Tensor:
    """KL divergence from the uniform distribution, over labelled pixels (MRKLD of CRST, Zou et al. 2019).

    Args:
        logits: Shape (B, C, H, W).
        labels: Shape (B, H, W).
        ignore_index: Label of pixels that do not count.

    Returns:
        ``mean over valid pixels of mean_c(-log p_c)``, a scalar; a connected zero where no pixel is valid.
    """
    per_pixel = -F.log_softmax(logits.float(), dim=1).mean(dim=1)
    valid = labels != ignore_index
    return (per_pixel * valid).sum() / valid.sum().clamp(min=1)


def pool_probabilities(first: Tensor, second: Tensor, second_share: float) -> Tensor:
    """Logarithmic opinion pool of two classifiers (Genest and Zidek 1986): their weighted geometric mean, normalised.

    Args:
        first: Class probabilities, shape (C, ...).
        second: Those of the other classifier, same shape.
        second_share: Weight of the second in [0, 1]; the first has the rest.

    Returns:
        Probabilities, same shape; they sum to 1 over C.
    """
    first_log, second_log = (each.clamp(min=PROBABILITY_FLOOR).log() for each in (first, second))
    return torch.lerp(first_log, second_log, second_share).softmax(dim=0)


def two_head_uncertainty(mode_probabilities: Tensor, segmentation_probabilities: Tensor) -> Tensor:
    """Disagreement of two classifiers of the same pixels, KL(modes || segmentation).

    The analogue of the two classifiers of Seg-Uncertainty (Zheng and Yang 2021), with the posterior of the modes as one
    of them; this project's own. ``exp(-uncertainty)`` is a weight in (0, 1], confidence times it a rank.

    Args:
        mode_probabilities: Class posterior of the modes, shape (B, C, ...), sums to 1 over C.
        segmentation_probabilities: Class probabilities of the segmentation head, same shape.

    Returns:
        Shape (B, ...), in nats, >= 0, and at most ``-log PROBABILITY_FLOOR`` = 13.8. Zero where the two agree exactly.
    """
    modes, segmentation = (
        probabilities.clamp(min=PROBABILITY_FLOOR)
        for probabilities in (mode_probabilities, segmentation_probabilities)
    )
    divergence = (mode_probabilities * (modes.log() - segmentation.log())).sum(dim=1)
    return divergence.clamp(min=0)


def two_head_agreement(mode_probabilities: Tensor, segmentation_probabilities: Tensor) -> Tensor:
    """Whether both classifiers give a pixel the same class.

    Args:
        mode_probabilities: Class posterior of the modes, shape (B, C, ...).
        segmentation_probabilities: Class probabilities (or logits) of the segmentation head, same shape.

    Returns:
        Shape (B, ...), boolean.
    """
    return mode_probabilities.argmax(dim=1) == segmentation_probabilities.argmax(dim=1)
