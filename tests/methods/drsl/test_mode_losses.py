import itertools

import pytest
import torch
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.losses import TripletMarginLoss
from pytorch_metric_learning.miners import BatchHardMiner
from pytorch_metric_learning.reducers import MeanReducer

import mmdrsl.methods.drsl.functional as F
from mmdrsl.methods.drsl.mode_alignment import StochasticModeAlignmentLoss
from mmdrsl.methods.drsl.mode_metric import ModeMetricLoss

BANDWIDTH = 0.3
CLASSES, MODES, DIM = 4, 3, 8
IGNORED = 255
EVERY_PIXEL = 10**6
NARROW = 1e-2


def maps(seed=0, *, shape=(2, 10, 12), classes=CLASSES, dtype=torch.float32):
    """Unit embeddings (B, D, H, W) and labels (B, H, W) with a few ignored pixels."""
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randn(shape[0], DIM, *shape[1:], generator=generator, dtype=dtype)
    labels = torch.randint(classes, shape, generator=generator)
    labels[:, 0, :3] = IGNORED
    return torch.nn.functional.normalize(raw, dim=1).requires_grad_(), labels


def modes(num_modes=MODES, classes=CLASSES, seed=9, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randn(classes, num_modes, DIM, generator=generator, dtype=dtype)
    return F.normalize(raw).requires_grad_()


def on_sphere(pixels, representatives):
    """Unit vectors in the graph: only then do both ways to write a distance share a gradient."""
    return (
        torch.nn.functional.normalize(pixels, dim=1),
        torch.nn.functional.normalize(representatives, dim=-1),
    )


def backward(loss, *tensors):
    loss.backward()
    assert loss.isfinite()
    for tensor in tensors:
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()


def test_metric_loss_is_the_sum_of_its_parts():
    (leaf, labels), leaf_modes = maps(), modes()
    embeddings, representatives = on_sphere(leaf, leaf_modes)
    loss = ModeMetricLoss(
        margin=0.7, posterior_weight=0.3, max_pixels_per_class=EVERY_PIXEL, usage_weight=0.2,
        spread_weight=0.4,
    )  # fmt: skip
    result = loss(embeddings, labels, representatives, BANDWIDTH)
    by_class = {}
    usage = []
    for b, y, x in itertools.product(*map(range, labels.shape)):
        if (label := labels[b, y, x].item()) == IGNORED:
            continue
        d2 = ((embeddings[b, :, y, x] - representatives) ** 2).sum(-1)
        others = torch.cat([d2[:label], d2[label + 1 :]])
        hinge = (d2[label].min() - others.min() + 0.7).clamp(min=0)
        density = (-d2 / (2 * BANDWIDTH**2)).exp()
        posterior = -(density[label].sum() / density.sum()).log()
        by_class.setdefault(label, []).append(hinge + 0.3 * posterior)
        usage.append((label, density[label] / density[label].sum()))
    expected = torch.stack([torch.stack(own).mean() for own in by_class.values()]).mean()
    counted = [c for c, own in by_class.items() if len(own) >= 64]
    if counted:
        shares = [torch.stack([s for label, s in usage if label == c]).mean(0) for c in counted]
        gaps = [torch.tensor(float(MODES)).log() + (s * s.log()).sum() for s in shares]
        expected = expected + 0.2 * torch.stack(gaps).mean()
    pairs = [
        (0.1 - ((of_class[i] - of_class[j]) ** 2).sum()).clamp(min=0)
        for of_class in representatives
        for i, j in itertools.combinations(range(MODES), 2)
    ]
    expected = expected + 0.4 * torch.stack(pairs).mean()
    torch.testing.assert_close(result, expected)
    found = torch.autograd.grad(result, (leaf, leaf_modes), retain_graph=True)
    naive = torch.autograd.grad(expected, (leaf, leaf_modes))
    torch.testing.assert_close(found, naive, rtol=1e-3, atol=1e-6)


def test_without_class_balance_every_pixel_counts_the_same():
    embeddings, labels = maps()
    labels[labels == 3] = 0
    embeddings, representatives = on_sphere(embeddings, modes())
    uniform = ModeMetricLoss(
        class_balanced=False, max_pixels_per_class=EVERY_PIXEL, usage_weight=0, spread_weight=0
    )
    alone = [
        uniform(
            embeddings[b, None, :, y, None, x, None],
            labels[b, None, y, None, x, None],
            representatives,
            BANDWIDTH,
        )
        for b, y, x in (labels != IGNORED).nonzero().tolist()
    ]
    result = uniform(embeddings, labels, representatives, BANDWIDTH)
    torch.testing.assert_close(result, torch.stack(alone).mean())
    balanced = ModeMetricLoss(max_pixels_per_class=EVERY_PIXEL, usage_weight=0, spread_weight=0)
    assert (balanced(embeddings, labels, representatives, BANDWIDTH) - result).abs() > 1e-3
    # The limit is that of all classes together.
    leaf = embeddings.detach().clone().requires_grad_()
    few = ModeMetricLoss(
        class_balanced=False, max_pixels_per_class=5, usage_weight=0, spread_weight=0
    )
    few(leaf, labels, representatives.detach(), BANDWIDTH).backward()
    touched = (leaf.grad != 0).any(dim=1)
    assert touched.sum() == 5 * CLASSES
    assert (touched & (labels == 0)).sum() > 5


def test_usage_penalty_enters_the_metric_loss():
    embeddings, _ = maps(shape=(2, 12, 12))
    labels = torch.zeros(2, 12, 12, dtype=torch.long)
    representatives = modes()
    without = ModeMetricLoss(usage_weight=0, max_pixels_per_class=EVERY_PIXEL)
    with_usage = ModeMetricLoss(usage_weight=2, max_pixels_per_class=EVERY_PIXEL)
    flat, flat_labels = F.select_valid(embeddings, labels, CLASSES)
    shares = F.mode_responsibilities(
        F.squared_distances(flat, representatives), flat_labels, BANDWIDTH
    ).mean(0)
    gap = torch.tensor(float(MODES)).log() + (shares * shares.log()).sum()
    difference = with_usage(embeddings, labels, representatives, BANDWIDTH) - without(
        embeddings, labels, representatives, BANDWIDTH
    )
    assert gap > 0.001
    torch.testing.assert_close(difference, 2 * gap, rtol=1e-3, atol=1e-5)


def test_usage_counts_in_small_samples():
    embeddings, _ = maps(shape=(2, 12, 12))
    labels = torch.zeros(2, 12, 12, dtype=torch.long)
    losses = [
        ModeMetricLoss(usage_weight=weight, max_pixels_per_class=20)(
            embeddings, labels, modes(), BANDWIDTH, generator=torch.Generator().manual_seed(0)
        )
        for weight in (0, 1)
    ]
    assert losses[1] > losses[0] + 0.001


def test_one_mode_per_class_is_a_proxy_triplet_loss():
    leaf, leaf_modes = maps(shape=(1, 8, 8), dtype=torch.float64)[0], modes(1, dtype=torch.float64)
    embeddings, proxies = on_sphere(leaf, leaf_modes)
    labels = (torch.arange(64) % CLASSES).reshape(1, 8, 8)
    loss = ModeMetricLoss(
        margin=0.5, posterior_weight=0, usage_weight=0, spread_weight=0,
        max_pixels_per_class=EVERY_PIXEL,
    )  # fmt: skip
    result = loss(embeddings, labels, proxies, BANDWIDTH)
    distance = LpDistance(normalize_embeddings=False, p=2, power=2)
    flat = embeddings[0].flatten(1).t()
    proxy_labels = torch.arange(CLASSES)
    hardest = BatchHardMiner(distance=distance)(flat, labels.flatten(), proxies[:, 0], proxy_labels)
    reference = TripletMarginLoss(margin=0.5, distance=distance, reducer=MeanReducer())(
        flat, labels.flatten(), hardest, proxies[:, 0], proxy_labels
    )
    assert reference > 0.1
    torch.testing.assert_close(result, reference)
    torch.testing.assert_close(
        torch.autograd.grad(result, (leaf, leaf_modes), retain_graph=True),
        torch.autograd.grad(reference, (leaf, leaf_modes)),
    )


def test_metric_loss_samples_each_class():
    embeddings, labels = maps()
    few = ModeMetricLoss(max_pixels_per_class=5, usage_weight=0, spread_weight=0)
    few(embeddings, labels, modes(), BANDWIDTH).backward()
    touched = (embeddings.grad != 0).any(dim=1)
    assert all((touched & (labels == c)).sum() <= 5 for c in range(CLASSES))
    assert touched.sum() > CLASSES


def metric(embeddings, labels, representatives):
    return ModeMetricLoss()(embeddings, labels, representatives, BANDWIDTH)


@pytest.mark.parametrize("ignored", [IGNORED, -1, 250])
def test_ignored_pixels_get_no_gradient(ignored):
    embeddings, labels = maps()
    other, other_labels = maps(1)
    representatives = modes()
    labels[labels == IGNORED] = ignored
    labels[1, :, 6:] = ignored
    metric(embeddings, labels, representatives).backward()
    outside = (labels < 0) | (labels >= CLASSES)
    assert (embeddings.grad.movedim(1, -1)[outside] == 0).all()
    assert (embeddings.grad.movedim(1, -1)[~outside] != 0).any()
    embeddings.grad = None
    StochasticModeAlignmentLoss()(
        other, other_labels, embeddings, labels, representatives, BANDWIDTH
    ).backward()
    assert (embeddings.grad.movedim(1, -1)[outside] == 0).all()
    assert (embeddings.grad.movedim(1, -1)[~outside] != 0).any()


@pytest.mark.parametrize(
    "degenerate",
    ["class absent", "one class", "nothing valid", "fewer pixels than modes", "one pixel",
     "zero vector", "zero mode", "same vectors", "on the modes"],
)  # fmt: skip
@pytest.mark.parametrize("num_modes", [1, 3])
@pytest.mark.parametrize("class_balanced", [True, False])
def test_metric_loss_is_finite(degenerate, num_modes, class_balanced):
    embeddings, labels = maps()
    representatives = modes(num_modes)
    with torch.no_grad():
        if degenerate == "class absent":
            labels[labels == 2] = 1
        elif degenerate == "one class":
            labels[labels != IGNORED] = 3
        elif degenerate == "nothing valid":
            labels[:] = IGNORED
        elif degenerate == "fewer pixels than modes":
            labels[:] = IGNORED
            labels[0, 0, :2] = 1
        elif degenerate == "one pixel":
            labels[:] = IGNORED
            labels[1, 3, 3] = 0
        elif degenerate == "zero vector":
            embeddings[:, :, 4:] = 0
        elif degenerate == "zero mode":
            representatives[1] = 0
        elif degenerate == "same vectors":
            embeddings[:] = embeddings[:1, :, :1, :1].clone()
            representatives[:] = representatives[:1, :1].clone()
        else:
            embeddings[:] = representatives[labels.clamp(max=CLASSES - 1), 0].movedim(-1, 1)
    normal = F.normalize(embeddings.movedim(1, -1)).movedim(-1, 1)
    loss = ModeMetricLoss(class_balanced=class_balanced)
    result = loss(normal, labels, F.normalize(representatives), BANDWIDTH)
    backward(result, embeddings, representatives)
    if degenerate == "nothing valid":
        assert result == 0
        assert (embeddings.grad == 0).all()
    else:
        assert result > 0


def test_absent_class_does_not_dilute_the_mean():
    embeddings, labels = maps()
    labels[:] = 1
    loss = ModeMetricLoss(usage_weight=0, spread_weight=0, max_pixels_per_class=EVERY_PIXEL)
    representatives = modes()
    per_pixel = [
        loss(embeddings[b, None, :, y, None, x, None], labels[:1, :1, :1], representatives, 0.3)
        for b, y, x in itertools.product(*map(range, labels.shape))
    ]
    torch.testing.assert_close(
        loss(embeddings, labels, representatives, 0.3), torch.stack(per_pixel).mean()
    )


@pytest.mark.parametrize(
    "degenerate",
    ["no valid target", "no valid source", "class in one domain", "mode in one domain",
     "fewer pixels than modes", "zero vector", "identical domains", "same vectors"],
)  # fmt: skip
@pytest.mark.parametrize("num_modes", [1, 3])
def test_alignment_loss_is_finite(degenerate, num_modes):
    (source, source_labels), (target, target_labels) = maps(0), maps(1)
    representatives = modes(num_modes)
    zero = False
    with torch.no_grad():
        if degenerate == "no valid target":
            target_labels[:], zero = IGNORED, True
        elif degenerate == "no valid source":
            source_labels[:], zero = IGNORED, True
        elif degenerate == "class in one domain":
            source_labels[source_labels != IGNORED] = 0
            target_labels[target_labels != IGNORED] = 1
            zero = True
        elif degenerate == "mode in one domain":
            source_labels[:], target_labels[:] = 0, 0
            source[:] = representatives[0, 0][:, None, None]
            target[:] = representatives[0, -1][:, None, None]
            zero = True  # one mode per class: the domains coincide
        elif degenerate == "fewer pixels than modes":
            target_labels[:] = IGNORED
            target_labels[0, 0, :2] = 1
            zero = True
        elif degenerate == "zero vector":
            target[:, :, 4:] = 0
        elif degenerate == "identical domains":
            target[:], target_labels[:] = source, source_labels
        else:
            source[:] = source[:1, :, :1, :1].clone()
            target[:] = source
    loss = StochasticModeAlignmentLoss()
    # So narrow that every pixel draws its nearest mode.
    result = loss(source, source_labels, target, target_labels, representatives, NARROW)
    backward(result, source, target)
    assert representatives.grad is None
    if zero:
        assert result.item() == pytest.approx(0, abs=1e-5)


def test_alignment_loss_uses_every_mode_of_many_classes():
    num_classes, num_modes = 60, 5
    embeddings, labels = maps(shape=(1, 60, 60), classes=num_classes)
    representatives = modes(num_modes, num_classes)
    metric(embeddings, labels, representatives).backward()
    assert embeddings.grad.isfinite().all()
    embeddings.grad = None
    loss = StochasticModeAlignmentLoss(num_pairs=200, min_pixels=2)
    target = maps(3, shape=(1, 60, 60))[0]
    target.retain_grad()
    loss(embeddings, labels, target, labels, representatives, BANDWIDTH).backward()
    aligned = labels[(target.grad != 0).any(dim=1)].unique()
    assert aligned.tolist() == list(range(num_classes))


def test_alignment_loss_against_its_parts():
    (source, source_labels), (target, target_labels) = maps(0), maps(1)
    representatives = modes()
    loss = StochasticModeAlignmentLoss(
        num_pairs=20_000, min_pixels=4, max_pixels_per_class=EVERY_PIXEL
    )
    generator = torch.Generator().manual_seed(0)
    result = loss(source, source_labels, target, target_labels, representatives, NARROW, generator)
    values = []
    for c, k in itertools.product(range(CLASSES), range(MODES)):
        members = []
        for embeddings, labels in ((source, source_labels), (target, target_labels)):
            d2 = ((embeddings[:, None, None] - representatives[None, ..., None, None]) ** 2).sum(3)
            nearest = (labels == c) & (d2[:, c].argmin(dim=1) == k)
            members.append(embeddings.movedim(1, -1)[nearest])
        if min(map(len, members)) >= 4:
            values.append((members[0][:, None] - members[1]).square().sum(2).mean())
    assert len(values) > CLASSES
    assert result.item() == pytest.approx(torch.stack(values).mean().item(), rel=0.01)


def test_pixels_draw_their_modes_by_responsibility():
    """A pixel between two modes is aligned with the target of either."""
    representatives = F.normalize(torch.eye(DIM)[None, :2])
    source = F.normalize(torch.eye(DIM)[0] + 0.8 * torch.eye(DIM)[1])
    source = source[:, None, None].repeat(1, 40, 50)[None].requires_grad_()
    target = representatives[0].t()[None, :, None].repeat(1, 1, 2, 1).requires_grad_()
    labels = [torch.zeros(each.shape[0], *each.shape[2:]).long() for each in (source, target)]
    loss = StochasticModeAlignmentLoss(min_pixels=1, max_pixels_per_class=EVERY_PIXEL, num_pairs=8)
    found = loss(
        source, labels[0], target, labels[1], representatives, BANDWIDTH,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    # Both modes have source pixels, and each a target pixel at its center.
    gaps = (source[0, :, 0, 0] - representatives[0]).square().sum(1)
    assert found.item() == pytest.approx(gaps.mean().item(), rel=1e-5)


def test_alignment_loss_is_a_function_of_its_generator():
    (source, source_labels), (target, target_labels) = maps(0), maps(1)
    loss = StochasticModeAlignmentLoss()

    def value(seed):
        generator = torch.Generator().manual_seed(seed)
        return loss(
            source, source_labels, target, target_labels, modes(), BANDWIDTH, generator=generator
        ).item()

    assert value(0) == value(0)
    assert value(0) != value(1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_keeps_full_precision(dtype):
    (source, source_labels), (target, target_labels) = maps(0), maps(1)
    representatives = modes()
    align = StochasticModeAlignmentLoss()
    every = ModeMetricLoss(max_pixels_per_class=EVERY_PIXEL, spread_weight=1, usage_weight=1)

    def values():
        torch.manual_seed(0)
        total = every(source, source_labels, representatives, BANDWIDTH)
        aligned = align(source, source_labels, target, target_labels, representatives, BANDWIDTH)
        return torch.stack([total, aligned])

    exact = values()
    exact_gradients = torch.autograd.grad(exact.sum(), (source, target, representatives))
    with torch.autocast("cpu", dtype=dtype):
        low = values()
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, exact, rtol=1e-5, atol=1e-6)
    gradients = torch.autograd.grad(low.sum(), (source, target, representatives))
    torch.testing.assert_close(gradients, exact_gradients, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "options",
    [dict(margin=-1), dict(usage_weight=-0.1), dict(max_pixels_per_class=0)],
)  # fmt: skip
def test_metric_loss_refuses(options):
    with pytest.raises(ValueError, match="found"):
        ModeMetricLoss(**options)


@pytest.mark.parametrize(
    "options",
    [dict(min_pixels=0), dict(num_pairs=0), dict(max_pixels_per_class=0)],
)  # fmt: skip
def test_alignment_loss_refuses(options):
    with pytest.raises(ValueError, match="found"):
        StochasticModeAlignmentLoss(**options)
