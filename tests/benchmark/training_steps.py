"""Batches for the models of a benchmark's configs."""

import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample


def labeled_batch(*domains):
    """Normalized images and labels in blocks of ten classes, one image for each domain."""
    generator = torch.Generator().manual_seed(0)
    samples = []
    for domain in domains:
        label = torch.randint(0, 10, (1, 8, 8), generator=generator)
        label = label.repeat_interleave(8, 1).repeat_interleave(8, 2)
        shape = dict(img_shape=(64, 64), ori_shape=(64, 64), domain=domain)
        samples.append(SegDataSample(gt_sem_seg=PixelData(data=label), metainfo=shape))
    return torch.randn(len(domains), 3, 64, 64, generator=generator), samples
