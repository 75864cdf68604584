"""Networks of this project fit sixteen labeled scenes from random weights: what is built also learns."""

import pytest
import torch
from config_folders import BASES, load
from mmengine.config import ConfigDict
from mmseg.registry import DATASETS, MODELS
from test_method_matrix import narrow

from mmdrsl.models.segmentors.completion import complete_segmentor
from mmdrsl.scenes.writer import write_scenes

SIZE = (64, 128)
CLASSES = 19
STEPS = 600
# Images of a step.
BATCH = 4


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Normalized images (16, 3, H, W) and labels (16, H, W)."""
    root = tmp_path_factory.mktemp("learned") / "set"
    write_scenes(
        out_dir=root,
        seed=3,
        num_game=16,
        num_camera_train=1,
        num_camera_val=1,
        image_size=SIZE[::-1],
    )
    dataset = DATASETS.build(
        dict(
            type="GTA5Dataset",
            data_root=str(root / "game"),
            label_space="cityscapes19",
            pipeline=[dict(type="LoadImage"), dict(type="LoadLabels"), dict(type="PackSegInputs")],
        )
    )
    items = [dataset[index] for index in range(16)]
    images = torch.stack([item["inputs"] for item in items]).float()
    labels = torch.cat([item["data_samples"].gt_sem_seg.data for item in items]).long()
    return (images - 110) / 60, [item["data_samples"] for item in items], labels


def build(name):
    """A base model at a fraction of its width."""
    torch.manual_seed(0)
    segmentor = ConfigDict(load(BASES / "models" / f"{name}.py").model.segmentor.to_dict())
    narrow(segmentor)
    segmentor.backbone.update(embed_dims=16, num_heads=[1, 2, 4, 8])
    segmentor.decode_head.update(channels=32)
    cfg, _ = complete_segmentor(segmentor, num_classes=CLASSES, class_weight=None, crop_size=SIZE)
    built = MODELS.build(cfg)
    built.init_weights()
    return built


def share_right(segmentor, images, labels):
    """Share of labeled pixels, in evaluation mode."""
    segmentor.eval()
    with torch.no_grad():
        metas = [dict(img_shape=torch.Size(SIZE))] * len(images)
        predicted = segmentor.encode_decode(images, metas).argmax(1)
    segmentor.train()
    valid = labels != 255
    return (predicted == labels)[valid].float().mean().item()


@pytest.mark.timeout(3600)
@pytest.mark.slow
@pytest.mark.parametrize("name", ["daformer_mitb0", "hrda_mitb0"])
def test_fits_sixteen_scenes(name, scenes):
    images, samples, labels = scenes
    segmentor = build(name).train()
    optimizer = torch.optim.AdamW(segmentor.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2e-3, total_steps=STEPS)
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
            print(f"{name}: {step + 1} steps, {100 * right:.1f} % of the pixels right")
            if right > 0.9:
                break
    assert right > 0.9
