"""A small plain vision transformer fits sixteen labeled scenes, as a whole and by each kind of adapter."""

import pytest
import torch
from mmseg.registry import MODELS
from test_networks_learn import BATCH, CLASSES, STEPS, scenes, share_right

__all__ = ["scenes"]

VIT = dict(
    type="PlainViT",
    arch="vit_base_patch14_dinov2",
    options=dict(depth=4, embed_dim=64, num_heads=4, patch_size=8, img_size=64, init_values=1.0),
)
HEAD = dict(
    type="UpsamplingHead", in_channels=64, channels=32, num_classes=CLASSES, dropout_ratio=0.0
)


@pytest.mark.timeout(3600)
@pytest.mark.slow
@pytest.mark.parametrize("tuning", ["full", "lora", "soma", "rein"])
def test_fits_sixteen_scenes(tuning, scenes):
    """Adapters learn on random frozen blocks."""
    images, samples, labels = scenes
    torch.manual_seed(0)
    backbone = dict(VIT, tuning=tuning)
    segmentor = MODELS.build(
        dict(
            type="EncoderDecoder", backbone=backbone, decode_head=HEAD, test_cfg=dict(mode="whole")
        )
    )
    segmentor.init_weights()
    trained = [p for p in segmentor.train().parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained)
    rate = 2e-3 if tuning == "full" else 4e-3
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=rate, total_steps=STEPS)
    for step in range(STEPS):
        chosen = torch.randperm(16)[:BATCH].tolist()
        losses = segmentor.loss(images[chosen], [samples[index] for index in chosen])
        total = sum(value for key, value in losses.items() if "loss" in key)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        schedule.step()
        if step % 50 == 49:
            right = share_right(segmentor, images, labels)
            print(f"{tuning}: {step + 1} steps, {100 * right:.1f} % of the pixels right")
            if right > 0.9:
                break
    assert right > 0.9
