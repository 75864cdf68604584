import torch

from mmdrsl.models.class_mix import choose_classes, color_jitter, paste

IGNORED = 255


def test_half_of_the_classes_are_chosen():
    labels = torch.tensor([[0, 0, 1], [2, 4, 255]])
    seen = set()
    for seed in range(40):
        mask = choose_classes(labels, torch.Generator().manual_seed(seed))
        chosen = set(labels[mask].tolist())
        assert len(chosen) == 2
        assert IGNORED not in chosen
        assert all((labels[~mask] != value).all() for value in chosen)
        seen.add(frozenset(chosen))
    assert len(seen) == 6
    assert not choose_classes(torch.full((2, 2), IGNORED)).any()
    assert choose_classes(torch.ones(2, 2, dtype=torch.long)).all()


def test_paste():
    mask = torch.tensor([[[True, False]]])
    assert paste(mask, torch.tensor([[[1, 1]]]), torch.tensor([[[2, 2]]])).tolist() == [[[1, 2]]]
    image = paste(mask, torch.ones(1, 3, 1, 2), torch.zeros(1, 3, 1, 2))
    assert image[0, :, 0].tolist() == [[1, 0]] * 3


def test_jitter_is_affine_per_channel():
    images = torch.randn(2, 3, 4, 5)
    changed = color_jitter(images, 0.3, torch.Generator().manual_seed(0))
    for b in range(2):
        for c in range(3):
            before, after = images[b, c].flatten(), changed[b, c].flatten()
            slope = (after[1] - after[0]) / (before[1] - before[0])
            assert 0.7 <= slope <= 1.3
            shift = after[0] - slope * before[0]
            assert abs(shift) <= 0.3 + 1e-4
            torch.testing.assert_close(after, slope * before + shift, rtol=1e-3, atol=1e-3)
    assert torch.equal(color_jitter(images, 0.0), images)
