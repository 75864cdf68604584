import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from mmdrsl.models.label_maps import resize_labels, stack_labels


def blocks(seed=0, size=(24, 40), block=(5, 3)):
    generator = torch.Generator().manual_seed(seed)
    small = torch.randint(4, (2, 8, 16), generator=generator)
    small[small == 3] = 255
    large = small.repeat_interleave(block[0], 1).repeat_interleave(block[1], 2)
    return large[:, : size[0], : size[1]]


def test_nearest_takes_the_center_of_a_cell():
    labels = blocks()
    found = resize_labels(labels, (3, 5))
    assert torch.equal(found, labels[:, 4::8, 4::8])
    assert torch.equal(resize_labels(labels, (24, 40)), labels)


def test_stacked_labels_are_integers_of_all_samples():
    labels = blocks()
    samples = [
        SegDataSample(gt_sem_seg=PixelData(data=label[None].to(torch.uint8))) for label in labels
    ]
    stacked = stack_labels(samples)
    assert stacked.dtype == torch.int64
    assert torch.equal(stacked, labels)


@pytest.mark.parametrize("size", [(2, 3), (5, 7)])
def test_sizes_that_do_not_divide(size):
    labels = torch.arange(11 * 13).reshape(1, 11, 13)
    found = resize_labels(labels, size)
    rows, columns = (
        [int((i + 0.5) * whole / part) for i in range(part)]
        for whole, part in zip((11, 13), size, strict=True)
    )
    assert torch.equal(found, labels[:, rows][:, :, columns])
