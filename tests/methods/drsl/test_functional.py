import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from torch.autograd import gradcheck

import mmdrsl.methods.drsl.functional as F

BANDWIDTH = 0.4
PIXELS, CLASSES, MODES, DIM = 11, 3, 2, 5


def unit(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, generator=generator, dtype=torch.float64))


def case(seed=0):
    labels = torch.tensor([0, 1, 0, 2, 2, 1, 0, 0, 2, 1, 0])
    return unit(PIXELS, DIM, seed=seed), labels, unit(CLASSES, MODES, DIM, seed=seed + 1000)


def naive_distances(embeddings, modes):
    return [
        [[sum((e - r) ** 2 for e, r in zip(pixel, mode, strict=True)) for mode in of_class]
         for of_class in modes.tolist()]
        for pixel in embeddings.tolist()
    ]  # fmt: skip


def naive_density(distance, bandwidth=BANDWIDTH):
    return math.exp(-distance / (2 * bandwidth**2))


def test_normalize():
    vectors = torch.randn(4, 3, dtype=torch.float64)
    for row, result in zip(vectors.tolist(), F.normalize(vectors).tolist(), strict=True):
        length = math.sqrt(sum(value**2 for value in row))
        assert result == pytest.approx([value / length for value in row])
    assert gradcheck(F.normalize, vectors.requires_grad_())
    for dtype in (torch.float16, torch.bfloat16):
        assert F.normalize(vectors.to(dtype)).dtype == torch.float32


def test_normalize_zero_vector():
    zero = torch.zeros(2, 3, requires_grad=True)
    result = F.normalize(zero)
    result.sum().backward()
    assert (result == 0).all()
    assert zero.grad.isfinite().all()


def test_squared_distances():
    embeddings, _, modes = case()
    expected = torch.tensor(naive_distances(embeddings, modes), dtype=torch.float64)
    torch.testing.assert_close(F.squared_distances(embeddings, modes), expected)
    assert gradcheck(
        lambda e, r: F.squared_distances(F.normalize(e), F.normalize(r)),
        (embeddings.requires_grad_(), modes.requires_grad_()),
    )


def test_squared_distances_are_never_negative():
    embeddings = F.normalize(torch.randn(500, 7))
    distances = F.squared_distances(embeddings, embeddings[:, None])
    assert distances.min() >= 0
    assert distances.max() <= 4 + 1e-6


def test_class_log_posterior():
    embeddings, _, modes = case()
    distances = F.squared_distances(embeddings, modes)
    result = F.class_log_posterior(distances, BANDWIDTH)
    for pixel, row in zip(naive_distances(embeddings, modes), result.tolist(), strict=True):
        mass = [sum(naive_density(d) for d in of_class) for of_class in pixel]
        assert row == pytest.approx([math.log(m / sum(mass)) for m in mass])
    frequency = torch.rand(modes.shape[0], dtype=torch.float64) + 0.1
    result = F.class_log_posterior(distances, BANDWIDTH, frequency / frequency.sum())
    for pixel, row in zip(naive_distances(embeddings, modes), result.tolist(), strict=True):
        mass = [
            prior * sum(naive_density(d) for d in of_class)
            for prior, of_class in zip(frequency.tolist(), pixel, strict=True)
        ]
        assert row == pytest.approx([math.log(m / sum(mass)) for m in mass])
    assert gradcheck(lambda d: F.class_log_posterior(d, BANDWIDTH), distances.requires_grad_())


def test_own_class_distances_and_responsibilities():
    embeddings, labels, modes = case()
    distances = F.squared_distances(embeddings, modes)
    own = F.own_class_distances(distances, labels).tolist()
    shares = F.mode_responsibilities(distances, labels, BANDWIDTH).tolist()
    naive = naive_distances(embeddings, modes)
    for n, label in enumerate(labels.tolist()):
        density = [naive_density(d) for d in naive[n][label]]
        assert own[n] == pytest.approx(naive[n][label])
        assert shares[n] == pytest.approx([d / sum(density) for d in density])
    distances.requires_grad_()
    assert gradcheck(lambda d: F.own_class_distances(d, labels), distances)
    assert gradcheck(lambda d: F.mode_responsibilities(d, labels, BANDWIDTH), distances)


@pytest.mark.parametrize("reduction", ["min", "softmin"])
def test_class_distances(reduction):
    embeddings, _, modes = case()
    distances = F.squared_distances(embeddings, modes)
    result = F.class_distances(distances, reduction).tolist()
    for n, pixel in enumerate(naive_distances(embeddings, modes)):
        for c, of_class in enumerate(pixel):
            expected = min(of_class)
            if reduction == "softmin":
                expected = -math.log(sum(math.exp(-2 * d) for d in of_class) / MODES) / 2
                assert min(of_class) <= expected <= sum(of_class) / MODES
            assert result[n][c] == pytest.approx(expected)
    assert gradcheck(lambda d: F.class_distances(d, reduction), distances.requires_grad_())


def test_class_distances_unknown_reduction():
    with pytest.raises(ValueError, match="'min' or 'softmin', found 'mean'"):
        F.class_distances(torch.zeros(1, 2, 1), "mean")


@pytest.mark.parametrize("margin", [0.0, 0.5])
def test_margin_loss(margin):
    generator = torch.Generator().manual_seed(3)
    per_class = torch.rand(40, 4, generator=generator, dtype=torch.float64) * 4
    labels = torch.randint(4, (40,), generator=generator)
    expected = []
    for row, label in zip(per_class.tolist(), labels.tolist(), strict=True):
        others = [value for c, value in enumerate(row) if c != label]
        expected.append(max(0.0, row[label] - min(others) + margin))
    assert 0 < sum(value == 0 for value in expected) < 40
    assert F.margin_loss(per_class, labels, margin).tolist() == pytest.approx(expected)
    assert gradcheck(lambda d: F.margin_loss(d, labels, margin), per_class.requires_grad_())


@pytest.mark.parametrize("weighted", [False, True])
def test_class_balanced_mean(weighted):
    labels = torch.tensor([0, 0, 0, 2, 4, 4])
    values = torch.tensor([1.0, 2.0, 6.0, 4.0, -1.0, 3.0], dtype=torch.float64)
    weights = torch.tensor([1.0, 0.5, 0.0, 0.25, 1.0, 1.0], dtype=torch.float64)
    by_class = {}
    for value, label, weight in zip(
        values.tolist(), labels.tolist(), weights.tolist(), strict=True
    ):
        by_class.setdefault(label, []).append(value * (weight if weighted else 1))
    expected = sum(sum(own) / len(own) for own in by_class.values()) / len(by_class)
    given_weights = weights if weighted else None
    assert F.class_balanced_mean(values, labels, 6, given_weights).item() == pytest.approx(expected)
    assert gradcheck(
        lambda v: F.class_balanced_mean(v, labels, 6, given_weights), values.requires_grad_()
    )


def test_class_balanced_mean_without_pixels():
    values = torch.zeros(0, requires_grad=True)
    result = F.class_balanced_mean(values, torch.zeros(0, dtype=torch.long), 3)
    result.backward()
    assert result == 0


@pytest.mark.parametrize("weighted", [False, True])
def test_pixel_mean(weighted):
    values = torch.tensor([1.0, -2.0, 6.0], dtype=torch.float64, requires_grad=True)
    weights = torch.tensor([1.0, 0.5, 0.0], dtype=torch.float64) if weighted else None
    expected = (1.0 - 1.0 + 0.0) / 3 if weighted else 5.0 / 3
    assert F.pixel_mean(values, weights).item() == pytest.approx(expected)
    assert gradcheck(lambda v: F.pixel_mean(v, weights), values)
    nothing = torch.zeros(0, requires_grad=True)
    result = F.pixel_mean(nothing)
    result.backward()
    assert result == 0


def test_mode_usage_penalty():
    generator = torch.Generator().manual_seed(0)
    shares = torch.rand(40, 3, generator=generator, dtype=torch.float64).softmax(dim=1)
    labels = torch.tensor([0] * 20 + [1] * 17 + [2] * 3)
    gaps = []
    for c in (0, 1):
        own = shares[labels == c].tolist()
        usage = [sum(row[k] for row in own) / len(own) for k in range(3)]
        gaps.append(math.log(3) + sum(u * math.log(u) for u in usage))
    result = F.mode_usage_penalty(shares, labels, 4, min_pixels=10)
    assert result.item() == pytest.approx(sum(gaps) / 2)
    assert gradcheck(
        lambda s: F.mode_usage_penalty(s, labels, 4, min_pixels=10), shares.requires_grad_()
    )


def test_mode_usage_penalty_extremes():
    labels = torch.zeros(80, dtype=torch.long)
    one_hot = torch.eye(4, dtype=torch.float64)
    collapsed = one_hot[torch.zeros(80, dtype=torch.long)].requires_grad_()
    even = one_hot[torch.arange(80) % 4]
    assert F.mode_usage_penalty(collapsed, labels, 2).item() == pytest.approx(math.log(4))
    assert F.mode_usage_penalty(even, labels, 2).item() == pytest.approx(0, abs=1e-9)
    F.mode_usage_penalty(collapsed, labels, 2).backward()
    assert collapsed.grad.isfinite().all()
    few = F.mode_usage_penalty(collapsed[:63], labels[:63], 2)
    few.backward()
    assert few == 0


def test_mode_spread_penalty():
    modes = F.normalize(unit(1, 1, DIM) + 0.15 * unit(CLASSES, 3, DIM, seed=5))
    expected = []
    for of_class in modes.tolist():
        for i in range(3):
            for j in range(i + 1, 3):
                gap = sum((a - b) ** 2 for a, b in zip(of_class[i], of_class[j], strict=True))
                expected.append(max(0.0, 0.1 - gap))
    assert any(value > 0 for value in expected)
    assert F.mode_spread_penalty(modes).item() == pytest.approx(sum(expected) / len(expected))
    assert gradcheck(F.mode_spread_penalty, modes.requires_grad_())
    single = unit(CLASSES, 1, DIM).requires_grad_()
    F.mode_spread_penalty(single).backward()
    assert F.mode_spread_penalty(single) == 0
    assert (single.grad == 0).all()


def test_select_valid():
    embeddings = torch.arange(2 * 3 * 2 * 2, dtype=torch.float64).reshape(2, 3, 2, 2)
    labels = torch.tensor([[[0, 255], [-1, 2]], [[3, 1], [250, 0]]], dtype=torch.int32)
    weights = torch.rand(2, 2, 2)
    rows, kept, factors = [], [], []
    for b in range(2):
        for y in range(2):
            for x in range(2):
                if labels[b, y, x].item() in (0, 1, 2):
                    rows.append(embeddings[b, :, y, x].tolist())
                    kept.append(labels[b, y, x].item())
                    factors.append(weights[b, y, x].item())
    found, found_labels, found_weights = F.select_valid(embeddings, labels, 3, weights)
    assert (found.tolist(), found_labels.tolist()) == (rows, kept)
    assert found_weights.tolist() == factors
    assert found_labels.dtype == torch.int64
    assert F.select_valid(embeddings, labels, 3)[2] is None


def test_sample_class_balanced():
    labels = torch.tensor([0] * 50 + [2] * 3 + [3] * 20)[torch.randperm(73)]
    drawn = F.sample_class_balanced(labels, 4, 10, torch.Generator().manual_seed(0))
    again = F.sample_class_balanced(labels, 4, 10, torch.Generator().manual_seed(0))
    other = F.sample_class_balanced(labels, 4, 10, torch.Generator().manual_seed(1))
    assert torch.equal(drawn, again)
    assert not torch.equal(drawn, other)
    assert len(drawn.unique()) == len(drawn)
    assert torch.bincount(labels[drawn], minlength=4).tolist() == [10, 0, 3, 10]


def test_sample_class_balanced_is_uniform():
    labels = torch.zeros(20, dtype=torch.long)
    generator = torch.Generator().manual_seed(0)
    hits = torch.zeros(20)
    for _ in range(2000):
        hits[F.sample_class_balanced(labels, 1, 5, generator)] += 1
    # Five standard deviations of a binomial with 2000 draws and probability 1/4.
    assert (hits - 500).abs().max() < 5 * math.sqrt(2000 * 0.25 * 0.75)


def test_assign_modes():
    shares = torch.tensor([[0.2, 0.5, 0.3]]).repeat(20000, 1)
    assert (F.assign_modes(shares, stochastic=False) == 1).all()
    drawn = F.assign_modes(shares, generator=torch.Generator().manual_seed(0))
    frequency = torch.bincount(drawn, minlength=3) / 20000
    assert (frequency - shares[0]).abs().max() < 0.02
    assert F.assign_modes(shares[:0]).shape == (0,)


def naive_alignment(source, source_groups, target, target_groups, num_groups, distance, min_pixels,
                    margin, weights):  # fmt: skip
    def squared(a, b):
        return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))

    values = []
    for group in range(num_groups):
        s = [v for v, g in zip(source.tolist(), source_groups.tolist(), strict=True) if g == group]
        t = [
            (v, w)
            for v, g, w in zip(
                target.tolist(), target_groups.tolist(), weights.tolist(), strict=True
            )
            if g == group
        ]
        if min(len(s), len(t)) < min_pixels:
            continue
        if distance == "mean":
            mean_s = [sum(column) / len(s) for column in zip(*s, strict=True)]
            mean_t = [sum(column) / len(t) for column in zip(*(v for v, _ in t), strict=True)]
            weight = sum(w for _, w in t) / len(t)
            values.append(weight * 2 * squared(mean_s, mean_t))
        elif distance == "pair":
            pairs = [w * max(0.0, squared(a, b) - margin) for a in s for b, w in t]
            values.append(sum(pairs) / len(pairs))
        else:
            # Expectation of weight times (2 cross - within source - within target).
            mean_weight = sum(w for _, w in t) / len(t)
            cross = sum(w * math.sqrt(squared(a, b)) for a in s for b, w in t) / len(s) / len(t)
            own_s = [math.sqrt(squared(a, b)) for a in s for b in s if a is not b]
            own_t = [w * math.sqrt(squared(a, b)) for a, w in t for b, _ in t if a is not b]
            values.append(
                2 * cross - mean_weight * sum(own_s) / len(own_s) - sum(own_t) / len(own_t)
            )
    return sum(values) / len(values)


@pytest.mark.parametrize("distance", ["pair", "energy", "mean"])
@pytest.mark.parametrize("weighted", [False, True])
def test_mode_alignment(distance, weighted):
    generator = torch.Generator().manual_seed(0)
    source, target = unit(30, 4), F.normalize(unit(36, 4, seed=1) + 0.7)
    source_groups = torch.randint(5, (30,), generator=generator)
    target_groups = torch.randint(5, (36,), generator=generator) % 4
    weights = torch.rand(36, generator=generator, dtype=torch.float64)
    margin = 1.0 if distance == "pair" else 0.0
    expected = naive_alignment(
        source, source_groups, target, target_groups, 6, distance, 4, margin,
        weights if weighted else torch.ones(36),
    )  # fmt: skip
    options = dict(
        distance=distance, margin=margin, min_pixels=4, target_weights=weights if weighted else None
    )
    result = F.mode_alignment(
        source, source_groups, target, target_groups, 6,
        num_pairs=60000, generator=generator, **options,
    )  # fmt: skip
    assert result.item() == pytest.approx(expected, rel=1e-9 if distance == "mean" else 0.015)
    assert gradcheck(
        lambda s, t: F.mode_alignment(
            s, source_groups, t, target_groups, 6,
            num_pairs=6, generator=torch.Generator().manual_seed(1), **options,
        ),
        (source.requires_grad_(), target.requires_grad_()),
    )  # fmt: skip


@pytest.mark.parametrize("distance", ["pair", "energy", "mean"])
def test_mode_alignment_without_shared_mode(distance):
    source, target = unit(10, 4).requires_grad_(), unit(10, 4).requires_grad_()
    groups = torch.zeros(10, dtype=torch.long)
    result = F.mode_alignment(source, groups, target, groups + 1, 2, distance=distance)
    result.backward()
    assert result == 0
    assert (source.grad == 0).all()
    assert (target.grad == 0).all()


def test_fill_rare_groups():
    values, groups = unit(7, DIM), torch.tensor([0, 0, 0, 1, 3, 3, 3])
    memory, memory_groups = unit(6, DIM, seed=1), torch.tensor([0, 1, 1, 2, 3, 2])
    filled, filled_groups = F.fill_rare_groups(values, groups, memory, memory_groups, 5, 3)
    # Groups 1 and 2 have fewer than three members of their own; nothing is remembered of group 4.
    assert filled_groups.tolist() == [0, 0, 0, 1, 3, 3, 3, 1, 1, 2, 2]
    assert torch.equal(filled, torch.cat([values, memory[[1, 2, 3, 5]]]))


def test_remembered_pixels_get_no_gradient():
    values, memory = unit(4, DIM).requires_grad_(), unit(4, DIM, seed=1).requires_grad_()
    groups = torch.tensor([0, 0, 0, 1])
    filled, _ = F.fill_rare_groups(values, groups, memory, groups, 2, 4)
    filled.sum().backward()
    assert (values.grad == 1).all()
    assert memory.grad is None


def test_mode_alignment_errors():
    vectors, groups = unit(10, 4), torch.zeros(10, dtype=torch.long)
    with pytest.raises(ValueError, match="found 'cosine'"):
        F.mode_alignment(vectors, groups, vectors, groups, 1, distance="cosine")
    with pytest.raises(ValueError, match="at least 2"):
        F.mode_alignment(vectors, groups, vectors, groups, 1, min_pixels=1)


def test_pair_partners_within_a_mode_differ():
    members = F._group_members(torch.tensor([0, 1, 1, 0, 0, 2, 2]), 3)
    first, other = F._draw(members, torch.arange(3), 500, torch.Generator().manual_seed(0))
    groups = torch.tensor([0, 1, 1, 0, 0, 2, 2])
    assert (first != other).all()
    assert (groups[first] == torch.arange(3)[:, None]).all()
    assert (groups[other] == torch.arange(3)[:, None]).all()
    assert set(zip(first[0].tolist(), other[0].tolist(), strict=True)) == {
        (a, b) for a in (0, 3, 4) for b in (0, 3, 4) if a != b
    }


def test_model_regularizer():
    logits = torch.randn(2, 3, 2, 4, dtype=torch.float32)
    labels = torch.randint(3, (2, 2, 4))
    labels[0, 0] = 255
    values = []
    for b in range(2):
        for y in range(2):
            for x in range(4):
                if labels[b, y, x] != 255:
                    scores = logits[b, :, y, x].tolist()
                    total = sum(math.exp(score) for score in scores)
                    values.append(-sum(math.log(math.exp(s) / total) for s in scores) / 3)
    result = F.model_regularizer(logits, labels)
    assert result.item() == pytest.approx(sum(values) / len(values), rel=1e-5)
    logits.requires_grad_()
    F.model_regularizer(logits, labels).backward()
    valid = (labels != 255).sum()
    # The derivative of the mean of -log p_c is p - 1/C.
    expected = (logits.detach().softmax(dim=1) - 1 / 3) * (labels != 255)[:, None] / valid
    torch.testing.assert_close(logits.grad, expected)
    nothing = F.model_regularizer(logits, torch.full_like(labels, 255))
    nothing.backward()
    assert nothing == 0


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_pool_probabilities(share: float):
    generator = torch.Generator().manual_seed(0)
    first, second = (
        torch.randn(4, 3, 2, generator=generator, dtype=torch.float64).softmax(0) for _ in range(2)
    )
    found = F.pool_probabilities(first, second, share)
    for y in range(3):
        for x in range(2):
            products = [
                p ** (1 - share) * q**share
                for p, q in zip(first[:, y, x].tolist(), second[:, y, x].tolist(), strict=True)
            ]
            assert found[:, y, x].tolist() == pytest.approx([p / sum(products) for p in products])


def test_pool_of_impossible_classes_is_finite():
    certain = torch.tensor([1.0, 0.0, 0.0])
    pooled = F.pool_probabilities(certain, certain.flip(0), 0.5)
    assert pooled.isfinite().all()
    torch.testing.assert_close(pooled[0], pooled[2])


def test_two_head_uncertainty():
    generator = torch.Generator().manual_seed(0)
    modes, segmentation = (
        torch.randn(2, 4, 3, 5, generator=generator, dtype=torch.float64).softmax(1)
        for _ in range(2)
    )
    found = F.two_head_uncertainty(modes, segmentation)
    agreed = F.two_head_agreement(modes, segmentation)
    assert found.shape == agreed.shape == (2, 3, 5)
    for b in range(2):
        for y in range(3):
            for x in range(5):
                q, p = modes[b, :, y, x].tolist(), segmentation[b, :, y, x].tolist()
                expected = sum(u * math.log(u / v) for u, v in zip(q, p, strict=True))
                assert found[b, y, x].item() == pytest.approx(expected)
                assert agreed[b, y, x].item() == (q.index(max(q)) == p.index(max(p)))
    assert 0 < agreed.sum() < agreed.numel()
    assert (F.two_head_uncertainty(modes, modes) == 0).all()
    assert gradcheck(
        F.two_head_uncertainty, (modes.requires_grad_(), segmentation.requires_grad_())
    )


def test_two_head_uncertainty_of_certain_heads():
    first, second = torch.eye(2)[:, :, None].requires_grad_(), torch.eye(2).flip(0)[:, :, None]
    found = F.two_head_uncertainty(first, second)
    found.sum().backward()
    assert found.flatten().tolist() == pytest.approx([-math.log(F.PROBABILITY_FLOOR)] * 2)
    assert first.grad.isfinite().all()


def all_values(embeddings, labels, modes):
    distances = F.squared_distances(embeddings, modes)
    shares = F.mode_responsibilities(distances, labels, BANDWIDTH)
    margins = F.margin_loss(F.class_distances(distances), labels, 0.5)
    posterior = F.class_log_posterior(distances, BANDWIDTH)
    return torch.stack(
        [
            F.class_balanced_mean(margins, labels, CLASSES),
            F.class_balanced_mean(posterior.gather(1, labels[:, None])[:, 0], labels, CLASSES),
            F.class_balanced_mean(
                F.margin_loss(F.class_distances(distances, "softmin"), labels, 0.5), labels, CLASSES
            ),
            F.mode_usage_penalty(shares, labels, CLASSES, min_pixels=1),
            F.mode_spread_penalty(modes, min_distance=2.0),
        ]
    )


seeds = st.integers(0, 10_000)
distances = st.sampled_from(["pair", "energy", "mean"])


def alignment_case(seed):
    generator = torch.Generator().manual_seed(seed)
    labels = [torch.randint(CLASSES, (60,), generator=generator) for _ in range(2)]
    return unit(60, DIM, seed=seed), unit(60, DIM, seed=seed + 1), *labels


def aligned(source, target, source_labels, target_labels, modes, distance):
    """Alignment with the most probable modes and the same random numbers in every call."""
    groups = []
    for values, labels in ((source, source_labels), (target, target_labels)):
        shares = F.mode_responsibilities(F.squared_distances(values, modes), labels, BANDWIDTH)
        groups.append(labels * MODES + F.assign_modes(shares, stochastic=False))
    return F.mode_alignment(
        source, groups[0], target, groups[1], CLASSES * MODES, distance=distance, min_pixels=2,
        num_pairs=4, generator=torch.Generator().manual_seed(0),
    )  # fmt: skip


@given(seeds, distances)
def test_alignment_does_not_depend_on_rotation(seed, distance):
    source, target, *labels = alignment_case(seed)
    modes, rotation = unit(CLASSES, MODES, DIM, seed=seed), torch.linalg.qr(unit(DIM, DIM)).Q
    torch.testing.assert_close(
        aligned(source, target, *labels, modes, distance),
        aligned(source @ rotation, target @ rotation, *labels, modes @ rotation, distance),
    )


@given(seeds)
def test_alignment_does_not_depend_on_pixel_order_or_mode_names(seed):
    source, target, *labels = alignment_case(seed)
    modes, order = unit(CLASSES, MODES, DIM, seed=seed), torch.randperm(60)
    torch.testing.assert_close(
        aligned(source, target, *labels, modes, "mean"),
        aligned(source[order], target, labels[0][order], labels[1], modes.flip(1), "mean"),
    )


@given(seeds, distances)
def test_a_step_along_the_gradient_aligns(seed, distance):
    source, target, *labels = alignment_case(seed)
    modes = unit(CLASSES, MODES, DIM, seed=seed)
    target.requires_grad_()
    value = aligned(source, target, *labels, modes, distance)
    (gradient,) = torch.autograd.grad(value, target)
    groups = F.squared_distances(target, modes).argmin(2)
    moved = target.detach() - 1e-4 * gradient / gradient.norm()
    # So small a step changes no mode; then the objective falls.
    assert torch.equal(F.squared_distances(moved, modes).argmin(2), groups)
    assert aligned(source, moved, *labels, modes, distance) < value


@given(seeds, st.sampled_from([-1, 250, 255]))
def test_ignored_pixels_get_exactly_no_gradient(seed, ignored):
    generator = torch.Generator().manual_seed(seed)
    embeddings = F.normalize(torch.randn(1, 6, 8, DIM, generator=generator)).movedim(-1, 1)
    embeddings.requires_grad_()
    labels = torch.randint(CLASSES, (1, 6, 8), generator=generator)
    drop = torch.rand(1, 6, 8, generator=generator) < 0.4
    labels[drop] = ignored
    modes = unit(CLASSES, MODES, DIM, seed=seed).float()
    kept, kept_labels, _ = F.select_valid(embeddings, labels, CLASSES)
    total = all_values(kept, kept_labels, modes)[:4].sum() + F.mode_alignment(
        kept, kept_labels, kept.flip(0), kept_labels.flip(0), CLASSES
    )
    total.backward()
    assert (embeddings.grad.movedim(1, -1)[drop] == 0).all()
    assert (embeddings.grad.movedim(1, -1)[~drop] != 0).any()


@given(seeds)
def test_pixel_order_does_not_matter(seed):
    embeddings, labels, modes = case(seed)
    order = torch.randperm(PIXELS, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(
        all_values(embeddings, labels, modes), all_values(embeddings[order], labels[order], modes)
    )


@given(seeds)
def test_mode_names_do_not_matter(seed):
    embeddings, labels, modes = case(seed)
    generator = torch.Generator().manual_seed(seed)
    renamed = torch.stack(
        [of_class[torch.randperm(MODES, generator=generator)] for of_class in modes]
    )
    torch.testing.assert_close(
        all_values(embeddings, labels, modes), all_values(embeddings, labels, renamed)
    )


@given(seeds)
def test_joint_rotation_does_not_matter(seed):
    embeddings, labels, modes = case(seed)
    rotation = torch.linalg.qr(unit(DIM, DIM, seed=seed + 7)).Q
    torch.testing.assert_close(
        all_values(embeddings, labels, modes),
        all_values(embeddings @ rotation, labels, modes @ rotation),
    )


@given(seeds)
def test_small_bandwidth_gives_the_nearest_mode(seed):
    embeddings, labels, modes = case(seed)
    distances = F.squared_distances(embeddings, modes)
    nearest = torch.tensor(naive_distances(embeddings, modes)).flatten(1).argmin(dim=1) // MODES
    posterior = F.class_log_posterior(distances, 1e-4).exp()
    one_hot = torch.nn.functional.one_hot(nearest, CLASSES)
    torch.testing.assert_close(posterior, one_hot.double())
    own = F.own_class_distances(distances, labels)
    shares = F.mode_responsibilities(distances, labels, 1e-4)
    assert torch.equal(shares.round(), torch.nn.functional.one_hot(own.argmin(1), MODES).double())


@given(seeds)
def test_identical_domains_have_no_energy_distance(seed):
    values, groups = unit(600, 8, seed=seed), torch.arange(600) % 2
    shifted = F.normalize(values + torch.eye(8, dtype=torch.float64)[0])

    def energy(target):
        generator = torch.Generator().manual_seed(seed)
        return F.mode_alignment(
            values, groups, target, groups, 2,
            distance="energy", num_pairs=4000, generator=generator,
        ).item()  # fmt: skip

    assert abs(energy(values)) < 0.05
    assert energy(shifted) > 0.2


def test_bigger_groups_than_a_byte():
    generator = torch.Generator().manual_seed(0)
    num_groups = 60 * 5
    groups = torch.randint(num_groups, (1500,), generator=generator)
    values = unit(1500, 3)
    expected = naive_alignment(
        values, groups, values.flip(1), groups, num_groups, "mean", 4, 0, torch.ones(1500)
    )
    result = F.mode_alignment(values, groups, values.flip(1), groups, num_groups, distance="mean")
    assert result.item() == pytest.approx(expected)
