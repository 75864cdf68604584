"""Checkpoints of tiny networks that were never trained, and scenes to predict."""

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmseg.registry import MODELS

from mmdrsl.datasets.label_spaces import get_label_space
from mmdrsl.engine.hooks.mean_teacher_hook import AVERAGE


@torch.no_grad()
def vary(segmentor, seed):
    """Random weights of the classifier over normalized features, so that labels vary over an image."""
    generator = torch.Generator().manual_seed(seed)
    blocks = torch.randn(4, 3, 16, 32, generator=generator)
    segmentor.train()
    for module in segmentor.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    images = torch.nn.functional.interpolate(blocks, scale_factor=4)
    segmentor.decode_head(segmentor.extract_feat(images))
    weight = segmentor.decode_head.conv_seg.weight
    weight.copy_(torch.randn(weight.shape, generator=generator))


def write_checkpoint(config, path, *, teacher=False):
    """Write a training checkpoint of a config, where chosen with a teacher of other weights."""
    cfg = Config.fromfile(config)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    vary(model.segmentor, seed=1)
    if teacher:
        model.add_teacher(AVERAGE)
        vary(model.teacher.module["segmentor"], seed=2)
        model.teacher.steps.fill_(3)
    space = get_label_space(cfg.model.label_space)
    named = dict(classes=space.classes, palette=[list(color) for color in space.palette])
    torch.save(dict(state_dict=model.state_dict(), meta=dict(dataset_meta=named)), path)
    return path


def write_video(path, images, rate=10):
    """Write a video of images (H, W, 3), uint8, of one size."""
    height, width = images[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), rate, (width, height))
    assert writer.isOpened()
    for image in images:
        writer.write(np.ascontiguousarray(image))
    writer.release()
