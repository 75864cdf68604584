"""Rates fall from block to block towards the images."""

import pytest
from mmengine.optim import build_optim_wrapper
from mmseg.registry import MODELS
from torch import nn


def network(**options):
    vit = dict(type="PlainViT", arch="vit_small_patch14_dinov2", **options)
    vit["options"] = dict(depth=3, embed_dim=16, num_heads=2, img_size=28)
    return nn.ModuleDict(dict(backbone=MODELS.build(vit), head=nn.Linear(2, 2)))


def rates(model, **paramwise):
    cfg = dict(
        type="OptimWrapper",
        constructor="LayerDecayConstructor",
        optimizer=dict(type="AdamW", lr=0.1, weight_decay=0.01),
        paramwise_cfg=paramwise,
    )
    groups = build_optim_wrapper(model, cfg).optimizer.param_groups
    by_id = {id(p): group for group in groups for p in group["params"]}
    return {n: by_id[id(p)]["lr"] for n, p in model.named_parameters() if p.requires_grad}


def test_rates_by_block():
    found = rates(network(), layer_decay=0.5, custom_keys=dict(backbone=dict(lr_mult=0.2)))
    wanted = {"vit.blocks.0.": 3, "vit.blocks.1.": 2, "vit.blocks.2.": 1, "vit.norm.": 0}
    embeddings = {"vit.cls_token": 4, "vit.pos_embed": 4, "vit.patch_embed.": 4}
    for name, rate in found.items():
        if name.startswith("head."):
            assert rate == pytest.approx(0.1)
            continue
        power = next(
            power
            for key, power in {**wanted, **embeddings}.items()
            if name.startswith(f"backbone.{key}")
        )
        assert rate == pytest.approx(0.1 * 0.2 * 0.5**power), name


def test_without_decay_and_without_further_keys():
    assert set(rates(network(), layer_decay=1.0).values()) == {0.1}
    rein = rates(network(tuning="rein"), layer_decay=0.5)
    assert all(rate == pytest.approx(0.1) for rate in rein.values())
    lora = rates(network(tuning="lora", rank=2), layer_decay=0.5)
    name = "backbone.vit.blocks.1.attn.qkv.parametrizations.weight.0.up"
    assert lora[name] == pytest.approx(0.1 * 0.5**2)


def test_wrong_use():
    with pytest.raises(ValueError, match=r"layer_decay must be in \(0, 1\], found 0"):
        rates(network(), layer_decay=0.0)
    with pytest.raises(ValueError, match="needs a backbone that tells the layers"):
        rates(nn.ModuleDict(dict(head=nn.Linear(2, 2))), layer_decay=0.5)
