"""Plain vision transformers compute what timm's compute, from files by any of the published names."""

import pytest
import timm
import torch
from mmseg.registry import MODELS
from torch import nn

DINOV2 = "vit_small_patch14_dinov2"
REGISTERS = "vit_small_patch14_reg4_dinov2"
DINOV3 = "vit_small_patch16_dinov3_qkvb"
# Query, key and value apart, with norms inside of attention and perceptron.
EVA02 = "eva02_base_patch14_224"
TINY = dict(depth=2, embed_dim=32, num_heads=2)
IMAGES = torch.randn(2, 3, 64, 90, generator=torch.Generator().manual_seed(1))


def options_of(arch):
    return dict(TINY, init_values=0.5) if "dino" in arch else dict(TINY)


def scramble(module):
    """Weights of which none is a constant."""
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter, mean=0.1, std=0.2)
    return module.eval()


def timm_model(arch, **options):
    model = timm.create_model(
        arch, pretrained=False, num_classes=3, global_pool="token", **options_of(arch), **options
    )
    return scramble(model)


def plain(arch, **options):
    torch.manual_seed(5)
    given = dict(options_of(arch), **options.pop("options", {}))
    return MODELS.build(dict(type="PlainViT", arch=arch, options=given, **options)).eval()


def maps_of(model, images):
    with torch.no_grad():
        return model(images)


@pytest.mark.parametrize("arch", [DINOV2, REGISTERS, DINOV3, EVA02])
def test_maps_equal_timm_at_its_own_size(arch):
    """Also a map between, and a file with a classifier."""
    size = 56 if "14" in arch else 64
    source = timm_model(arch, img_size=size)
    model = plain(arch, out_indices=(1, 0), options=dict(img_size=size))
    model.load_vit(source.state_dict())
    images = torch.randn(2, 3, size, size)
    with torch.no_grad():
        last = source.forward_features(images)[:, source.num_prefix_tokens :]
        first = source.forward_intermediates(images, norm=True, intermediates_only=True)[0]
    found = maps_of(model, images)
    assert [each.shape for each in found] == [(2, 32, 4, 4)] * 2
    torch.testing.assert_close(found[1].flatten(2).transpose(1, 2), last)
    torch.testing.assert_close(found[0], first)
    assert not torch.allclose(found[0], found[1], atol=1e-3)


def test_position_embeddings_follow_the_image_and_images_are_padded():
    """64 x 90 is five by seven patches of 14, the last ones padded with zeros."""
    model = plain(DINOV2, options=dict(img_size=56))
    scramble(model.vit)
    state = model.vit.state_dict()
    prefix, grid = state["pos_embed"][:, :1], state["pos_embed"][:, 1:]
    grid = grid.reshape(1, 4, 4, 32).permute(0, 3, 1, 2)
    grid = nn.functional.interpolate(grid, (5, 7), mode="bicubic", antialias=True)
    embedding = torch.cat([prefix, grid.flatten(2).transpose(1, 2)], 1)
    own = timm_model(DINOV2, img_size=(70, 98))
    own.load_state_dict({**state, "pos_embed": embedding}, strict=False)
    padded = nn.functional.pad(IMAGES, (0, 8, 0, 6))
    with torch.no_grad():
        wanted = own.forward_intermediates(padded, indices=1, norm=True, intermediates_only=True)
    found = maps_of(model, IMAGES)[0]
    assert found.shape == (2, 32, 5, 7)
    torch.testing.assert_close(found, wanted[0])


def original_dinov2(state, registers):
    """timm's names as facebookresearch/dinov2 has them; there, registers have no position and the class token has."""
    state = dict(state, mask_token=torch.ones(1, 32))
    if registers:
        state["register_tokens"] = state.pop("reg_token")
        state["pos_embed"] = torch.cat([torch.full((1, 1, 32), 0.3), state["pos_embed"]], 1)
        state["cls_token"] = state["cls_token"] - 0.3
    return state


def split_attention(key, value, names, stem):
    return {
        f"{stem}{name}.{key.rpartition('.')[2]}": part
        for name, part in zip(names, value.chunk(3), strict=True)
    }


def huggingface_dinov2(state, registers):
    """Names of transformers' Dinov2Model and Dinov2WithRegistersModel."""
    renamed = {}
    for key, value in original_dinov2(state, registers).items():
        layer = key.removeprefix("blocks.").partition(".")
        stem, rest = f"encoder.layer.{layer[0]}.", layer[2]
        if key.startswith("patch_embed.proj"):
            renamed[f"embeddings.patch_embeddings.projection.{layer[2][5:]}"] = value
        elif key == "pos_embed":
            renamed["embeddings.position_embeddings"] = value
        elif key.startswith("norm."):
            renamed[f"layernorm.{layer[2]}"] = value
        elif not key.startswith("blocks."):
            renamed[f"embeddings.{key}"] = value
        elif "attn.qkv" in key:
            names = ("query", "key", "value")
            renamed |= split_attention(key, value, names, f"{stem}attention.attention.")
        elif "attn.proj" in key:
            renamed[f"{stem}attention.output.dense.{rest[10:]}"] = value
        elif "gamma" in key:
            renamed[f"{stem}layer_scale{rest[2]}.lambda1"] = value
        else:
            renamed[stem + rest] = value
    return {f"dinov2.{key}": value for key, value in renamed.items()} | {
        "classifier.weight": torch.zeros(1)
    }


def original_dinov3(state):
    """timm's names as facebookresearch/dinov3 has them."""
    renamed = dict(mask_token=torch.ones(1, 32), **{"rope_embed.periods": torch.ones(4)})
    for key, value in state.items():
        key = key.replace("reg_token", "storage_tokens")
        key = key.replace("gamma_1", "ls1.gamma").replace("gamma_2", "ls2.gamma")
        if key.endswith("q_bias"):
            other = state[key.replace("q_bias", "v_bias")]
            bias = torch.cat([value, torch.full_like(value, 7.0), other])
            renamed[key.replace("q_bias", "qkv.bias")] = bias
            renamed[key.replace("q_bias", "qkv.bias_mask")] = torch.ones(96)
        elif not key.endswith(("v_bias", "k_bias")):
            renamed[key] = value
    return renamed


def huggingface_dinov3(state):
    """Names of transformers' DINOv3ViTModel."""
    renamed = {"embeddings.mask_token": torch.ones(1, 1, 32)}
    for key, value in state.items():
        layer = key.removeprefix("blocks.").partition(".")
        stem, rest = f"layer.{layer[0]}.", layer[2]
        if key.startswith("patch_embed.proj"):
            renamed[f"embeddings.patch_embeddings.{rest[5:]}"] = value
        elif key == "cls_token":
            renamed["embeddings.cls_token"] = value
        elif key == "reg_token":
            renamed["embeddings.register_tokens"] = value
        elif key.startswith("norm."):
            renamed[key] = value
        elif "attn.qkv" in key:
            names = ("q_proj", "k_proj", "v_proj")
            renamed |= split_attention(key, value, names, f"{stem}attention.")
        elif rest in ("attn.q_bias", "attn.v_bias"):
            renamed[f"{stem}attention.{rest[5]}_proj.bias"] = value
        elif "attn.proj" in key:
            renamed[f"{stem}attention.o_proj.{rest[10:]}"] = value
        elif "gamma" in key:
            renamed[f"{stem}layer_scale{rest[-1]}.lambda1"] = value
        elif "mlp" in key:
            name = "up_proj" if "fc1" in key else "down_proj"
            renamed[f"{stem}mlp.{name}.{rest[8:]}"] = value
        elif not key.endswith("k_bias"):
            renamed[stem + rest] = value
    return renamed


def original_eva02(state):
    """timm's names as baaivision/EVA has them after masked image modeling."""
    renamed = dict(mask_token=torch.ones(1, 1, 32), **{"lm_head.weight": torch.ones(5, 32)})
    renamed["rope.freqs_cos"] = torch.ones(16, 16)
    for key, value in state.items():
        key = key.replace("q_proj.bias", "q_bias").replace("v_proj.bias", "v_bias")
        key = key.replace("mlp.fc1_g", "mlp.w1").replace("mlp.fc1_x", "mlp.w2")
        key = key.replace("mlp.fc2", "mlp.w3").replace("mlp.norm", "mlp.ffn_ln")
        renamed[key.replace("attn.norm", "attn.inner_attn_ln")] = value
    return renamed


RELEASES = {
    "dinov2": (DINOV2, lambda state: original_dinov2(state, False)),
    "dinov2 with registers": (REGISTERS, lambda state: original_dinov2(state, True)),
    "dinov2 of HuggingFace": (DINOV2, lambda state: huggingface_dinov2(state, False)),
    "registers of HuggingFace": (REGISTERS, lambda state: huggingface_dinov2(state, True)),
    "dinov3": (DINOV3, original_dinov3),
    "dinov3 of HuggingFace": (DINOV3, huggingface_dinov3),
    "eva02": (EVA02, original_eva02),
    "a segmentor's backbone": (
        EVA02,
        lambda state: (
            {f"backbone.vit.{key}": value for key, value in state.items()}
            | {"decode_head.conv_seg.weight": torch.zeros(1)}
        ),
    ),
}


@pytest.mark.parametrize("release", RELEASES)
def test_published_names(tmp_path, release):
    """A random network, renamed and read from a file, computes the same; a name too few or too many is refused."""
    arch, rename = RELEASES[release]
    model, other = plain(arch, options=dict(img_size=64)), plain(arch, options=dict(img_size=64))
    scramble(model.vit)
    state = {key: value.clone() for key, value in model.vit.state_dict().items()}
    published = rename(state)
    torch.save(published, tmp_path / "weights.pth")
    other.init_cfg = dict(type="Pretrained", checkpoint=str(tmp_path / "weights.pth"))
    other.init_weights()
    torch.testing.assert_close(maps_of(other, IMAGES), maps_of(model, IMAGES))

    lost = next(key for key in published if "norm2.weight" in key)
    with pytest.raises(ValueError, match="1 missing"):
        other.load_vit({key: value for key, value in published.items() if key != lost})
    added = lost.replace("norm2", "norm9")
    with pytest.raises(ValueError, match="1 unexpected"):
        other.load_vit({**published, added: published[lost]})


def test_other_networks_are_refused(tmp_path):
    model = plain(DINOV2, options=dict(img_size=56))
    with pytest.raises(
        ValueError, match=r"patches of \(16, 16\) pixels, the network of \(14, 14\)"
    ):
        model.load_vit(timm_model("vit_small_patch16_224", img_size=64).state_dict())
    cut = {key: value[:16] for key, value in timm_model(DINOV2, img_size=56).state_dict().items()}
    with pytest.raises(ValueError, match="of another shape"):
        model.load_vit(cut)
    broken = timm_model(DINOV2, img_size=56).state_dict()
    broken["norm.bias"][0] = torch.nan
    with pytest.raises(ValueError, match=r"1 weights hold NaN or infinite values.*norm\.bias"):
        model.load_vit(broken)
    biased = scramble(plain(DINOV3, options=dict(img_size=64)).vit).state_dict()
    without = plain("vit_small_patch16_dinov3", options=dict(img_size=64))
    with pytest.raises(ValueError, match="_qkvb"):
        without.load_vit(original_dinov3(biased))
    zero = {
        key: value * 0 if key.endswith(("q_bias", "v_bias")) else value
        for key, value in biased.items()
    }
    without.load_vit(original_dinov3(zero))
    model.init_cfg = dict(type="Pretrained", checkpoint=str(tmp_path / "absent.pth"))
    with pytest.raises(FileNotFoundError, match=r"absent\.pth"):
        model.init_weights()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(arch="vit_none"), "no model 'vit_none'"),
        (dict(arch="resnet18"), "resnet18 of timm is no plain vision transformer"),
        (dict(tuning="half"), "tuning must be one of"),
        (dict(out_indices=(2,)), "out_indices must name some of 2 blocks"),
        (dict(tuning="lora", rank=0), "rank must be >= 1"),
        (dict(tuning="lora", first_block=2), r"first_block in \[0, 1\]"),
        (dict(init_cfg=dict(type="Normal")), "init_cfg of PlainViT"),
    ],
)
def test_wrong_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(dict(dict(type="PlainViT", arch=DINOV2, options=TINY), **options))
