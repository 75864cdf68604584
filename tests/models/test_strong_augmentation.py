import math

import torch
import torch.nn.functional as F
from torchvision.transforms import ColorJitter

from mmdrsl.models.block_mask import block_mask
from mmdrsl.models.strong_augmentation import strong_augmentation

MEAN = torch.tensor([100.0, 110.0, 120.0])[:, None, None]
STD = torch.tensor([50.0, 55.0, 60.0])[:, None, None]


def augment(images, seed, **options):
    torch.manual_seed(seed)
    return strong_augmentation(images, mean=MEAN, std=STD, **options)


def pictures():
    torch.manual_seed(0)
    return (torch.rand(2, 3, 20, 30) * 255 - MEAN) / STD


def test_jitter_is_that_of_the_colors_in_zero_to_one():
    images = pictures()
    found = augment(images, 3, jitter=0.2, jitter_probability=1.0, blur_probability=0.0)
    torch.manual_seed(3)
    torch.rand(())
    transform = ColorJitter(0.2, 0.2, 0.2, 0.2)
    for image, own in zip(images, found, strict=True):
        wanted = transform((image * STD + MEAN) / 255)
        torch.testing.assert_close(own, (wanted * 255 - MEAN) / STD, rtol=1e-4, atol=1e-4)
    assert not torch.equal(found, images)


def gaussian(images, sigma, kernel):
    """Blur by sums over shifts, mirrored at the border."""
    rows, columns = kernel

    def taps(size):
        values = torch.exp(-0.5 * ((torch.arange(size) - size // 2) / sigma) ** 2)
        return values / values.sum()

    height, width = images.shape[-2:]
    pad = (columns // 2, columns // 2, rows // 2, rows // 2)
    padded = F.pad(images[None], pad, mode="reflect")[0]
    down = sum(tap * padded[:, i : i + height] for i, tap in enumerate(taps(rows)))
    return sum(tap * down[..., i : i + width] for i, tap in enumerate(taps(columns)))


def test_blur_has_a_tenth_of_the_side_and_a_width_for_each_image():
    images = pictures()
    found = augment(images, 5, jitter=0.0, blur_probability=1.0)
    torch.manual_seed(5)
    torch.rand(())
    kernel = [math.ceil(0.1 * side) // 2 * 2 + 1 for side in (20, 30)]
    for image, own in zip(images, found, strict=True):
        sigma = 0.15 + float(torch.rand(()))
        torch.testing.assert_close(own, gaussian(image, sigma, kernel), rtol=1e-4, atol=1e-4)


def test_each_happens_with_its_probability():
    images = pictures()
    changed = [not torch.equal(augment(images, seed), images) for seed in range(200)]
    # 1 - 0.2 * 0.5.
    assert 0.83 <= sum(changed) / len(changed) <= 0.97
    assert torch.equal(augment(images, 0, jitter=0.0, blur_probability=0.0), images)


def test_masks_are_blocks_and_hide_their_share():
    torch.manual_seed(0)
    images = torch.zeros(50, 3, 32, 48)
    mask = block_mask(images, block_size=8, ratio=0.7)
    assert mask.shape == (50, 1, 32, 48)
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    blocks = mask.unfold(2, 8, 8).unfold(3, 8, 8).flatten(4)
    assert (blocks.amin(-1) == blocks.amax(-1)).all()
    assert 0.27 <= float(mask.mean()) <= 0.33
    assert (block_mask(images, block_size=8, ratio=0.0) == 1).all()
    # A block larger than the image is one block.
    assert block_mask(images, block_size=100, ratio=0.5).flatten(1).unique(dim=1).shape[1] == 1
