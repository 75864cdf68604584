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

Combine = Callable[[Tensor], Tensor]


def normalize(vectors: Tensor) -> Tensor:
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
    combine: Combine | None = None,
) -> Tensor:
    """Mean over the classes that occur of the mean over their pixels.

    Args:
        values: One value per pixel, shape (N,).
        labels: Shape (N,), in [0, C).
        num_classes: C.
        combine: See the head of this file.

    Returns:
        A scalar; with N = 0 a zero that is connected to the graph of `values`.
    """
    combine = combine or _here
    counts = combine(torch.bincount(labels, minlength=num_classes).to(values.dtype))
    sums = combine(values.new_zeros(num_classes).index_add(0, labels, values))
    return (sums / counts.clamp(min=1)).sum() / (counts > 0).sum().clamp(min=1)


def pixel_mean(values: Tensor, combine: Combine | None = None) -> Tensor:
    """Plain mean over pixels.

    Args:
        values: One value per pixel, shape (N,).
        combine: See the head of this file.

    Returns:
        A scalar; with N = 0 a zero that is connected to the graph of `values`.
    """
    combine = combine or _here
    count = combine(values.new_tensor(float(len(values))))
    return combine(values.sum()) / count.clamp(min=1)


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


def select_valid(embeddings: Tensor, labels: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Flatten dense maps and drop the pixels whose label is not a class.

    Args:
        embeddings: Shape (B, D, H, W).
        labels: Shape (B, H, W), any integer dtype; every value outside [0, C) counts as ignored.
        num_classes: C.

    Returns:
        Embeddings (N, D) and labels (N,) int64.
    """
    flat_labels = labels.reshape(-1).long()
    # Indices, not a mask: a GPU waits for each masked selection to learn its size.
    valid = ((flat_labels >= 0) & (flat_labels < num_classes)).nonzero()[:, 0]
    flat = embeddings.permute(0, 2, 3, 1).reshape(-1, embeddings.shape[1])[valid]
    return flat, flat_labels[valid]


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


def draw_modes(responsibilities: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Draw one mode for each pixel from its responsibilities.

    Args:
        responsibilities: Shape (N, K), rows sum to 1.
        generator: Source of randomness; torch's default where None.

    Returns:
        Mode indices in [0, K), shape (N,).
    """
    if len(responsibilities) == 0:
        return responsibilities.new_zeros(0, dtype=torch.long)
    return torch.multinomial(responsibilities.detach(), 1, generator=generator)[:, 0]


def _group_members(groups: Tensor, num_groups: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return (members sorted by group, start of each group, size of each group)."""
    sizes = torch.bincount(groups, minlength=num_groups)
    return torch.argsort(groups, stable=True), sizes.cumsum(0) - sizes, sizes


def _draw_members(
    members: tuple[Tensor, Tensor, Tensor],
    chosen: Tensor,
    num_pairs: int,
    generator: torch.Generator | None,
) -> Tensor:
    """Draw a member of each chosen group, `num_pairs` times; shape (M, P)."""
    order, starts, sizes = members
    size = sizes[chosen][:, None]
    noise = torch.rand(2, len(chosen), num_pairs, generator=generator, device=order.device)[0]
    drawn = torch.minimum((noise * size).long(), size - 1)
    return order[starts[chosen][:, None] + drawn]


def mode_alignment(
    source: Tensor,
    source_groups: Tensor,
    target: Tensor,
    target_groups: Tensor,
    num_groups: int,
    *,
    num_pairs: int = 32,
    min_pixels: int = 4,
    generator: torch.Generator | None = None,
    combine: Combine | None = None,
) -> Tensor:
    """Mean squared distance of random pairs of a source and a target pixel of one mode, over the shared modes.

    It is the literal reading of the publication's abstract. It contains the variances of both domains, so it is not
    zero where the two distributions are equal.

    Args:
        source: Unit embeddings of source pixels, shape (N_s, D).
        source_groups: Mode of each, ``class * K + mode``, shape (N_s,).
        target: Unit embeddings of target pixels, shape (N_t, D).
        target_groups: Shape (N_t,).
        num_groups: C * K.
        num_pairs: Pairs drawn per mode.
        min_pixels: A mode is shared where both domains have at least this many pixels, >= 1.
        generator: Source of randomness; torch's default where None.
        combine: See the head of this file. Pairs stay within a rank; the mean is over the shared modes of all ranks.

    Returns:
        A scalar in [0, 4]; a zero connected to both graphs where no mode is shared.

    Raises:
        ValueError: `min_pixels` is below 1.
    """
    if min_pixels < 1:
        raise ValueError(f"min_pixels must be at least 1, found {min_pixels}.")
    combine = combine or _here
    source_members = _group_members(source_groups, num_groups)
    target_members = _group_members(target_groups, num_groups)
    shared = (source_members[2] >= min_pixels) & (target_members[2] >= min_pixels)
    chosen = shared.nonzero()[:, 0]
    first = _draw_members(source_members, chosen, num_pairs, generator)
    second = _draw_members(target_members, chosen, num_pairs, generator)
    values = (source[first] - target[second]).square().sum(dim=2)
    num_values = combine(values.new_tensor(float(values.numel())))
    return combine(values.sum()) / num_values.clamp(min=1)
