import itertools
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


def test_class_balanced_mean():
    labels = torch.tensor([0, 0, 0, 2, 4, 4])
    values = torch.tensor([1.0, 2.0, 6.0, 4.0, -1.0, 3.0], dtype=torch.float64)
    # The classes 1, 3 and 5 do not occur and are in no denominator.
    expected = (9 / 3 + 4 / 1 + 2 / 2) / 3
    assert F.class_balanced_mean(values, labels, 6).item() == pytest.approx(expected)
    assert gradcheck(lambda v: F.class_balanced_mean(v, labels, 6), values.requires_grad_())


def test_class_balanced_mean_without_pixels():
    values = torch.zeros(0, requires_grad=True)
    result = F.class_balanced_mean(values, torch.zeros(0, dtype=torch.long), 3)
    result.backward()
    assert result == 0


def test_pixel_mean():
    values = torch.tensor([1.0, -2.0, 6.0], dtype=torch.float64, requires_grad=True)
    assert F.pixel_mean(values).item() == pytest.approx(5 / 3)
    assert gradcheck(F.pixel_mean, values)
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
    rows, kept = [], []
    for b, y, x in itertools.product(range(2), repeat=3):
        if labels[b, y, x].item() in (0, 1, 2):
            rows.append(embeddings[b, :, y, x].tolist())
            kept.append(labels[b, y, x].item())
    found, found_labels = F.select_valid(embeddings, labels, 3)
    assert (found.tolist(), found_labels.tolist()) == (rows, kept)
    assert found_labels.dtype == torch.int64


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


def test_draw_modes():
    shares = torch.tensor([[0.2, 0.5, 0.3]]).repeat(20000, 1)
    drawn = F.draw_modes(shares, generator=torch.Generator().manual_seed(0))
    frequency = torch.bincount(drawn, minlength=3) / 20000
    assert (frequency - shares[0]).abs().max() < 0.02
    assert F.draw_modes(shares[:0]).shape == (0,)


def naive_alignment(source, source_groups, target, target_groups, num_groups, min_pixels):
    """Expectation over all pairs of a group, mean over the groups that both domains have."""
    values = []
    for group in range(num_groups):
        s = [v for v, g in zip(source.tolist(), source_groups.tolist(), strict=True) if g == group]
        t = [v for v, g in zip(target.tolist(), target_groups.tolist(), strict=True) if g == group]
        if min(len(s), len(t)) < min_pixels:
            continue
        pairs = [
            sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) for a, b in itertools.product(s, t)
        ]
        values.append(sum(pairs) / len(pairs))
    return sum(values) / len(values)


def test_mode_alignment():
    generator = torch.Generator().manual_seed(0)
    source, target = unit(30, 4), F.normalize(unit(36, 4, seed=1) + 0.7)
    source_groups = torch.randint(5, (30,), generator=generator)
    target_groups = torch.randint(5, (36,), generator=generator) % 4
    groups = (source_groups, target_groups)
    sizes = [torch.bincount(each, minlength=6) for each in groups]
    assert 0 < (torch.minimum(*sizes) >= 4).sum() < 6
    expected = naive_alignment(source, source_groups, target, target_groups, 6, 4)
    result = F.mode_alignment(
        source, source_groups, target, target_groups, 6, num_pairs=60000, generator=generator
    )
    assert result.item() == pytest.approx(expected, rel=0.01)
    assert gradcheck(
        lambda s, t: F.mode_alignment(
            s, source_groups, t, target_groups, 6,
            num_pairs=6, generator=torch.Generator().manual_seed(1),
        ),
        (source.requires_grad_(), target.requires_grad_()),
    )  # fmt: skip


@pytest.mark.parametrize("min_pixels", [3, 4])
def test_modes_are_shared_from_min_pixels_on(min_pixels):
    source, target = unit(7, 4), unit(9, 4, seed=1)
    source_groups = torch.tensor([0, 0, 0, 1, 1, 1, 1])
    target_groups = torch.tensor([0] * 5 + [1] * 4)
    expected = naive_alignment(source, source_groups, target, target_groups, 2, min_pixels)
    found = F.mode_alignment(
        source, source_groups, target, target_groups, 2,
        min_pixels=min_pixels, num_pairs=60000, generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    assert found.item() == pytest.approx(expected, rel=0.01)


def test_mode_alignment_without_shared_mode():
    source, target = unit(10, 4).requires_grad_(), unit(10, 4).requires_grad_()
    groups = torch.zeros(10, dtype=torch.long)
    result = F.mode_alignment(source, groups, target, groups + 1, 2)
    result.backward()
    assert result == 0
    assert (source.grad == 0).all()
    assert (target.grad == 0).all()


def test_mode_alignment_needs_pixels():
    vectors, groups = unit(10, 4), torch.zeros(10, dtype=torch.long)
    with pytest.raises(ValueError, match="at least 1, found 0"):
        F.mode_alignment(vectors, groups, vectors, groups, 1, min_pixels=0)


def test_every_member_of_a_group_is_drawn_alike():
    groups = torch.tensor([0, 1, 1, 0, 0, 2, 1])
    drawn = F._draw_members(
        F._group_members(groups, 4), torch.tensor([0, 1]), 6000, torch.Generator().manual_seed(0)
    )
    for row, members in zip(drawn, ([0, 3, 4], [1, 2, 6]), strict=True):
        counts = torch.bincount(row, minlength=7)
        assert counts.nonzero()[:, 0].tolist() == members
        assert (counts[members] - 2000).abs().max() < 5 * math.sqrt(6000 * 2 / 9)


def all_values(embeddings, labels, modes):
    distances = F.squared_distances(embeddings, modes)
    shares = F.mode_responsibilities(distances, labels, BANDWIDTH)
    margins = F.margin_loss(distances.amin(2), labels, 0.5)
    posterior = F.class_log_posterior(distances, BANDWIDTH)
    return torch.stack(
        [
            F.class_balanced_mean(margins, labels, CLASSES),
            F.class_balanced_mean(posterior.gather(1, labels[:, None])[:, 0], labels, CLASSES),
            F.pixel_mean(margins),
            F.mode_usage_penalty(shares, labels, CLASSES, min_pixels=1),
            F.mode_spread_penalty(modes, min_distance=2.0),
        ]
    )


seeds = st.integers(0, 10_000)


def alignment_case(seed):
    generator = torch.Generator().manual_seed(seed)
    labels = [torch.randint(CLASSES, (60,), generator=generator) for _ in range(2)]
    return unit(60, DIM, seed=seed), unit(60, DIM, seed=seed + 1), *labels


def aligned(source, target, source_labels, target_labels, modes, num_pairs=4):
    """Alignment with the most probable modes and the same random numbers in every call."""
    groups = []
    for values, labels in ((source, source_labels), (target, target_labels)):
        own = F.own_class_distances(F.squared_distances(values, modes), labels)
        groups.append(labels * MODES + own.argmin(1))
    return F.mode_alignment(
        source, groups[0], target, groups[1], CLASSES * MODES, min_pixels=2,
        num_pairs=num_pairs, generator=torch.Generator().manual_seed(0),
    )  # fmt: skip


@given(seeds)
def test_alignment_does_not_depend_on_rotation(seed):
    source, target, *labels = alignment_case(seed)
    modes, rotation = unit(CLASSES, MODES, DIM, seed=seed), torch.linalg.qr(unit(DIM, DIM)).Q
    torch.testing.assert_close(
        aligned(source, target, *labels, modes),
        aligned(source @ rotation, target @ rotation, *labels, modes @ rotation),
    )


@given(seeds)
def test_alignment_does_not_depend_on_pixel_order_or_mode_names(seed):
    source, target, *labels = alignment_case(seed)
    modes = unit(CLASSES, MODES, DIM, seed=seed)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(seed))
    # Other pairs are drawn: equal in the mean over many.
    assert aligned(source, target, *labels, modes, 20_000).item() == pytest.approx(
        aligned(source[order], target, labels[0][order], labels[1], modes.flip(1), 20_000).item(),
        rel=0.02,
    )


@given(seeds)
def test_a_step_along_the_gradient_aligns(seed):
    source, target, *labels = alignment_case(seed)
    modes = unit(CLASSES, MODES, DIM, seed=seed)
    target.requires_grad_()
    value = aligned(source, target, *labels, modes)
    (gradient,) = torch.autograd.grad(value, target)
    groups = F.squared_distances(target, modes).argmin(2)
    moved = target.detach() - 1e-4 * gradient / gradient.norm()
    # So small a step changes no mode; then the objective falls.
    assert torch.equal(F.squared_distances(moved, modes).argmin(2), groups)
    assert aligned(source, moved, *labels, modes) < value


@given(seeds, st.sampled_from([-1, 250, 255]))
def test_ignored_pixels_get_exactly_no_gradient(seed, ignored):
    generator = torch.Generator().manual_seed(seed)
    embeddings = F.normalize(torch.randn(1, 6, 8, DIM, generator=generator)).movedim(-1, 1)
    embeddings.requires_grad_()
    labels = torch.randint(CLASSES, (1, 6, 8), generator=generator)
    drop = torch.rand(1, 6, 8, generator=generator) < 0.4
    labels[drop] = ignored
    modes = unit(CLASSES, MODES, DIM, seed=seed).float()
    kept, kept_labels = F.select_valid(embeddings, labels, CLASSES)
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


def test_more_groups_than_a_byte_holds():
    num_groups = 60 * 5
    groups = torch.arange(1500) % num_groups
    values = unit(1500, 3)
    expected = naive_alignment(values, groups, values.flip(1), groups, num_groups, 4)
    result = F.mode_alignment(
        values, groups, values.flip(1), groups, num_groups,
        num_pairs=400, generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    assert result.item() == pytest.approx(expected, rel=0.02)
