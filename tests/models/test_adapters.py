"""What LoRA, SoMA and Rein compute and train, and that exports hold plain weights."""

import copy

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from torch import nn

from mmdrsl.models.backbones.adapters import merged
from mmdrsl.models.segmentors.export import export_segmentor

TINY = dict(depth=3, embed_dim=16, num_heads=2, img_size=56)
IMAGES = torch.randn(2, 3, 40, 56, generator=torch.Generator().manual_seed(1))
# Fused and separate attention.
ARCHS = ["vit_small_patch14_dinov2", "eva02_base_patch14_224"]


def backbone(arch=ARCHS[0], **options):
    torch.manual_seed(0)
    given = dict(TINY, **(dict(init_values=0.5) if "dinov2" in arch else {}))
    return MODELS.build(dict(type="PlainViT", arch=arch, options=given, **options))


def maps_of(model):
    with torch.no_grad():
        return model.eval()(IMAGES)[0]


def trained(model):
    return {name for name, p in model.named_parameters() if p.requires_grad}


def disturb(model):
    torch.manual_seed(3)
    for parameter in model.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, std=0.3)
    return model


@pytest.mark.parametrize("arch", ARCHS)
@pytest.mark.parametrize("tuning", ["lora", "soma"])
def test_additions_change_nothing_at_first_and_merge(arch, tuning):
    plain, model = backbone(arch), backbone(arch, tuning=tuning, rank=3, first_block=1)
    model.load_vit(plain.vit.state_dict())
    model.init_weights()
    torch.testing.assert_close(maps_of(model), maps_of(plain), rtol=1e-4, atol=1e-5)
    # Two factors for every linear layer from block 1 on.
    layers = [m for block in plain.vit.blocks[1:] for m in block.modules() if type(m) is nn.Linear]
    assert len(trained(model)) == 2 * len(layers)
    assert all(name.endswith((".up", ".down")) for name in trained(model))
    disturb(model)
    changed = maps_of(model)
    assert (changed - maps_of(plain)).abs().max() > 0.01
    plain.load_state_dict(merged(model.state_dict()), strict=True)
    torch.testing.assert_close(maps_of(plain), changed, rtol=1e-4, atol=1e-5)


def test_lora_of_one_layer():
    model = backbone(tuning="lora", rank=3)
    layer = disturb(model).vit.blocks[2].mlp.fc1
    frozen, factors = layer.parametrizations.weight.original, layer.parametrizations.weight[0]
    x = torch.randn(5, 16)
    wanted = x @ frozen.T + x @ factors.down.T @ factors.up.T + layer.bias
    torch.testing.assert_close(layer(x), wanted, rtol=1e-4, atol=1e-5)
    assert factors.down.shape == (3, 16)


def test_soma_trains_the_smallest_components():
    model = backbone(tuning="soma", rank=3)
    before = model.vit.blocks[0].mlp.fc1.weight.detach().clone()
    for _ in range(2):
        # Also where the layer was split before.
        model.init_weights()
        entry = model.vit.blocks[0].mlp.fc1.parametrizations.weight
        values = torch.linalg.svdvals(before)
        product = entry[0].up @ entry[0].down
        torch.testing.assert_close(torch.linalg.svdvals(product)[:3], values[-3:])
        torch.testing.assert_close(torch.linalg.svdvals(entry.original)[:-3], values[:-3])
        torch.testing.assert_close(entry[0].up.T @ entry[0].up, torch.diag(values[-3:]))
        torch.testing.assert_close(entry.original + product, before)


def test_rein_refines_patches_behind_every_block():
    model = disturb(backbone(tuning="rein", rank=3, first_block=1))
    assert all(name.startswith("rein.") for name in trained(model))
    rein, vit = model.rein, model.vit
    nn.init.constant_(rein.scale, 0.7)
    with torch.no_grad():
        tokens = vit.norm_pre(vit._pos_embed(vit.patch_embed(IMAGES)))
        for index, block in enumerate(vit.blocks):
            tokens = block.forward(tokens)
            if index == 0:
                continue
            prefix, f = tokens[:, :1], tokens[:, 1:]
            t = rein.left[index - 1] @ rein.right[index - 1]
            similarity = torch.softmax(torch.einsum("bnc,mc->bnm", f, t) / 4.0, -1)
            change = torch.einsum("bnm,mc->bnc", similarity[..., 1:], rein.of_tokens(t)[1:])
            tokens = torch.cat([prefix, f + 0.7 * rein.of_features(change + f)], 1)
    wanted = vit.norm(tokens)[:, 1:].reshape(2, 3, 4, 16).permute(0, 3, 1, 2)
    torch.testing.assert_close(maps_of(model), wanted)


@pytest.mark.parametrize("tuning", ["full", "lora", "rein"])
def test_a_copy_has_weights_of_its_own(tuning):
    """As a teacher is one."""
    model = disturb(backbone(tuning=tuning, rank=2))
    before = maps_of(model)
    other = copy.deepcopy(model)
    torch.testing.assert_close(maps_of(other), before)
    for parameter in other.parameters():
        nn.init.normal_(parameter)
    torch.testing.assert_close(maps_of(model), before)
    assert (maps_of(other) - before).abs().max() > 0.01


@pytest.mark.parametrize("tuning", ["full", "frozen", "lora", "soma", "rein"])
def test_gradients_reach_what_is_trained_with_and_without_recomputing(tuning):
    found = []
    for with_cp in (False, True):
        model = disturb(backbone(tuning=tuning, rank=2, with_cp=with_cp)).train()
        loss = model(IMAGES)[0].square().mean()
        assert loss.requires_grad is (tuning != "frozen")
        if tuning != "frozen":
            loss.backward()
        found.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
        assert set(found[-1]) == trained(model)
    torch.testing.assert_close(found[0], found[1])


@pytest.mark.parametrize("arch", ARCHS)
def test_recomputing_keeps_less_for_the_backward_pass(arch):
    kept = []
    for with_cp in (False, True):
        model, sizes = backbone(arch, with_cp=with_cp).train(), []

        def note(tensor, sizes=sizes):
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            model(IMAGES)
        kept.append(sum(sizes))
    assert kept[1] < 0.6 * kept[0]


def adaptation(tuning):
    vit = dict(type="PlainViT", arch=ARCHS[0], options=TINY, tuning=tuning, rank=2)
    head = dict(type="UpsamplingHead", channels=4, dropout_ratio=0.0)
    return dict(
        type="UDASegmentor",
        label_space="cityscapes19",
        crop_size=(40, 56),
        data_preprocessor=dict(type="UDADataPreprocessor", size=(40, 56)),
        segmentor=dict(
            type="EncoderDecoder", backbone=vit, decode_head=head, test_cfg=dict(mode="whole")
        ),
    )


@pytest.mark.parametrize("tuning", ["lora", "soma", "rein"])
def test_an_export_has_plain_weights_and_predicts_the_same(tmp_path, tuning):
    model = MODELS.build(adaptation(tuning))
    model.init_weights()
    disturb(model).eval()
    torch.save(dict(state_dict=model.state_dict()), tmp_path / "iter_1.pth")
    pipeline = [dict(type="LoadImage"), dict(type="PackSegInputs")]
    cfg = Config(dict(model=adaptation(tuning), test_pipeline=pipeline, default_scope="mmseg"))
    config, weights = export_segmentor(cfg, tmp_path / "iter_1.pth", tmp_path / "out")
    plain = MODELS.build(Config.fromfile(config, import_custom_modules=False).model).eval()
    state = torch.load(weights, weights_only=True)["state_dict"]
    plain.load_state_dict(state, strict=True)
    assert not any("parametrizations" in key for key in state)
    metas = [dict(img_shape=(40, 56))] * 2
    with torch.no_grad():
        wanted, found = (each.encode_decode(IMAGES, metas) for each in (model, plain))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
