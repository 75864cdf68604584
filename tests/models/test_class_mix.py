import torch

from mmdrsl.models.class_mix import choose_classes, choose_classes_of_batch, paste

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


def test_classes_of_the_batch_are_drawn_for_every_image():
    labels = torch.tensor([[[0, 1], [1, 1]], [[2, 255], [2, 2]]])
    seen = set()
    for seed in range(60):
        masks = choose_classes_of_batch(labels, torch.Generator().manual_seed(seed))
        chosen = set(labels[masks].tolist())
        # Two of the four labels, the ignored one among them.
        assert len(chosen) <= 4
        for image, mask in zip(labels, masks, strict=True):
            assert all((image[~mask] != value).all() for value in image[mask].unique().tolist())
        seen.add(tuple(masks.flatten().tolist()))
    assert len(seen) > 6
