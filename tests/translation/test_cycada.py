import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine import MessageHub
from mmengine.model import BaseModule
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner.checkpoint import get_state_dict, load_state_dict
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from tiny_translators import (
    DISCRIMINATOR,
    GENERATOR,
    LEARNING_RATE,
    OPTIM_WRAPPER,
    PREPROCESSOR,
    SEGMENTOR,
)

from mmdrsl.translation import cycada
from mmdrsl.translation.semantic_consistency import semantic_weight
from mmdrsl.translation.tiled_generator import translate_in_tiles


def build(*, generator=GENERATOR, **options):
    torch.manual_seed(0)
    options = {"semantic": dict(segmentor=copy.deepcopy(SEGMENTOR)), **options}
    model = MODELS.build(
        dict(
            type="mmagic.CyCADA",
            generator=generator,
            discriminator=DISCRIMINATOR,
            data_preprocessor=PREPROCESSOR,
            **options,
        )
    )
    for networks in (model.generators, model.discriminators):
        for network in networks.values():
            network.init_weights()
    return model


def optimizers(model):
    from mmagic.registry import OPTIM_WRAPPER_CONSTRUCTORS

    constructor = OPTIM_WRAPPER_CONSTRUCTORS.build(
        dict(
            type="mmagic.MultiOptimWrapperConstructor",
            optim_wrapper_cfg=copy.deepcopy(OPTIM_WRAPPER),
        )
    )
    return constructor(model)


def batch(seed=0, size=32):
    rng = np.random.default_rng(seed)
    inputs, samples = [], []
    for domain in ("target", "source"):
        image = rng.integers(0, 256, (3, size, size)).astype("u1")
        inputs.append(torch.from_numpy(image))
        label = rng.integers(0, 5, (1, size, size))
        label[:, :3] = 255
        samples.append(
            SegDataSample(
                gt_sem_seg=PixelData(data=torch.from_numpy(label)), metainfo=dict(domain=domain)
            )
        )
    return dict(inputs=inputs, data_samples=samples)


def set_iteration(value):
    MessageHub.get_current_instance().update_info("iter", value)


@pytest.fixture(autouse=True)
def first_iteration():
    set_iteration(0)


def plain_step(model, data, *, identity_weight, semantic_weight):
    """One step of CyCADA on copies of a model's networks, in plain PyTorch."""
    nets = copy.deepcopy(model)
    generators, discriminators = nets.generators, nets.discriminators
    optimizers = [
        torch.optim.SGD(module.parameters(), lr=LEARNING_RATE)
        for module in (generators, discriminators)
    ]
    target, source = (image.float().flip(0)[None] / 127.5 - 1 for image in data["inputs"])
    labels = data["data_samples"][1].gt_sem_seg.data
    fake_target, fake_source = generators["target"](source), generators["source"](target)
    back_source, back_target = generators["source"](fake_target), generators["target"](fake_source)
    loss_d = 0
    for domain, real, fake in (("source", source, fake_source), ("target", target, fake_target)):
        judge = discriminators[domain]
        loss_d = loss_d + 0.5 * (judge(fake.detach()) ** 2).mean()
        loss_d = loss_d + 0.5 * ((judge(real) - 1) ** 2).mean()
    optimizers[1].zero_grad()
    loss_d.backward()
    optimizers[1].step()
    losses = {
        "loss_gan_g_source": ((discriminators["source"](fake_source) - 1) ** 2).mean(),
        "loss_gan_g_target": ((discriminators["target"](fake_target) - 1) ** 2).mean(),
        "loss_cycle": 10
        * ((back_source - source).abs().mean() + (back_target - target).abs().mean()),
    }
    if identity_weight:
        losses["loss_identity"] = identity_weight * (
            (generators["source"](source) - source).abs().mean()
            + (generators["target"](target) - target).abs().mean()
        )
    if semantic_weight:
        judge = nets.semantic.segmentor

        def scores(images):
            logits = judge.decode_head(judge.backbone((images * 127.5 + 127.5 - 120) / 60))
            return F.interpolate(logits, images.shape[2:], mode="bilinear", align_corners=False)

        losses["loss_semantic_source"] = semantic_weight * F.cross_entropy(
            scores(fake_target), labels, ignore_index=255
        )
        losses["loss_semantic_target"] = semantic_weight * F.cross_entropy(
            scores(fake_source), scores(target).argmax(1)
        )
    optimizers[0].zero_grad()
    sum(losses.values()).backward()
    optimizers[0].step()
    return nets, {**losses, "loss": sum(losses.values())}, loss_d


@pytest.mark.parametrize(
    ("identity", "semantic"), [(5.0, 0.7), (0.0, 0.7), (5.0, 0.0)], ids=["all", "no_id", "no_sem"]
)
def test_a_step_equals_plain_pytorch(identity, semantic):
    model = build(
        identity_weight=identity,
        semantic=dict(segmentor=copy.deepcopy(SEGMENTOR), weight=semantic),
    )
    data = batch()
    expected, losses, loss_d = plain_step(
        model, data, identity_weight=identity, semantic_weight=semantic
    )
    before = copy.deepcopy(model.state_dict())
    logged = model.train_step(copy.deepcopy(data), optimizers(model))
    assert {name for name in logged if name.startswith("loss")} - {
        "loss_gan_d_source",
        "loss_gan_d_target",
    } == set(losses)
    for name, value in losses.items():
        assert torch.allclose(torch.as_tensor(logged[name]), value, rtol=1e-5, atol=1e-6), name
    # MMagic halves the value that it logs once more than the one that it minimizes.
    found_d = 2 * (logged["loss_gan_d_source"] + logged["loss_gan_d_target"])
    assert torch.allclose(found_d, loss_d, rtol=1e-5)
    after, wanted = model.state_dict(), expected.state_dict()
    for name in wanted:
        if name.startswith(("generators", "discriminators")):
            assert torch.allclose(after[name], wanted[name], atol=1e-6), name
        else:
            assert torch.equal(after[name], before[name]), name
    moved = [name for name in wanted if not torch.equal(after[name], before[name])]
    assert any(name.startswith("generators") for name in moved)
    assert any(name.startswith("discriminators") for name in moved)


@pytest.mark.parametrize(("weight", "passes"), [(5.0, 6), (0.0, 4)])
def test_identity_pass_is_not_computed_at_weight_zero(weight, passes):
    model = build(identity_weight=weight, semantic=None)
    calls = []
    for generator in model.generators.values():
        generator.register_forward_hook(lambda *_: calls.append(1))
    model.train_step(batch(), optimizers(model))
    assert len(calls) == passes


class HalfPrecisionWrapper(OptimWrapper):
    """What AmpOptimWrapper does on a GPU, without the scaling of losses: the CPU's autocast."""

    def optim_context(self, model):
        return torch.autocast("cpu", torch.bfloat16)


@pytest.mark.parametrize("generator", ["mmagic.ResnetGenerator", "mmagic.ShortcutGenerator"])
def test_a_step_in_half_precision_is_near_that_in_full(generator):
    results = {}
    for name, wrapper in (("full", OptimWrapper), ("half", HalfPrecisionWrapper)):
        model = build(generator=dict(GENERATOR, type=generator), buffer_size=2)
        step = OptimWrapperDict(
            **{
                part: wrapper(torch.optim.SGD(getattr(model, part).parameters(), LEARNING_RATE))
                for part in ("generators", "discriminators")
            }
        )
        log = [model.train_step(batch(seed), step) for seed in range(2)][-1]
        results[name] = {key: float(value) for key, value in log.items()}
        state = get_state_dict(model)
        assert all(value.isfinite().all() for value in state.values())
        assert len(state["image_buffers.target"]) == 2
    for key, value in results["full"].items():
        assert results["half"][key] == pytest.approx(value, rel=0.1, abs=0.01), key
    assert results["half"] != results["full"]


def test_shortcut_generator_begins_as_the_identity_and_tiles_alike():
    model = build(generator=dict(GENERATOR, type="mmagic.ShortcutGenerator"), semantic=None)
    generator = model.generators["target"]
    image = torch.rand(1, 3, 64, 96) * 2 - 1
    assert torch.equal(generator(image), image)
    last = generator.model[-1].conv
    torch.nn.init.normal_(last.weight, std=0.1)
    whole = generator(image)
    assert torch.allclose(whole, image + generator.model(image))
    assert not torch.allclose(whole, image, atol=0.1)
    assert torch.allclose(translate_in_tiles(generator, image, 32), whole, atol=1e-4)


def test_schedule_of_the_semantic_terms():
    schedule = dict(weight=2.0, begin=10, ramp=4)
    values = [semantic_weight(i, **schedule) for i in (0, 9, 10, 11, 13, 14, 100)]
    assert values == [0.0, 0.0, 0.5, 1.0, 2.0, 2.0, 2.0]
    assert semantic_weight(0, weight=3.0, begin=0, ramp=0) == 3.0
    model = build(semantic=dict(segmentor=copy.deepcopy(SEGMENTOR), begin=3))
    step = optimizers(model)
    for iteration, present in ((2, False), (3, True)):
        set_iteration(iteration)
        assert ("loss_semantic_source" in model.train_step(batch(), step)) == present


def test_segmentor_stays_frozen_and_in_evaluation_mode():
    model = build()
    model.train()
    assert model.generators.training
    assert not any(module.training for module in model.semantic.modules())
    assert not any(parameter.requires_grad for parameter in model.semantic.parameters())


def test_all_ignored_labels_give_a_connected_zero():
    model = build()
    image = torch.rand(1, 3, 16, 16, requires_grad=True)
    ignored = torch.full((1, 16, 16), 255)
    source, _ = model.semantic(
        fake_target=image, labels=ignored, real_target=image, fake_source=image
    )
    source.backward()
    assert source == 0
    assert torch.equal(image.grad, torch.zeros_like(image))


def test_segmentor_of_other_channel_order_sees_the_same_picture():
    model = build()
    other = copy.deepcopy(model.semantic)
    other.segmentor.data_preprocessor._channel_conversion = False
    image = torch.rand(1, 3, 16, 16) * 2 - 1
    assert torch.allclose(other.logits(image), model.semantic.logits(image.flip(1)))


def test_image_buffer_is_in_the_checkpoint():
    model = build(buffer_size=3, semantic=None)
    step = optimizers(model)
    for seed in range(2):
        model.train_step(batch(seed), step)
    saved = copy.deepcopy(get_state_dict(model))
    other = build(buffer_size=3, semantic=None)
    assert not any(name.startswith("image_buffers") for name in get_state_dict(other))
    load_state_dict(other, saved, strict=True)
    for domain in ("source", "target"):
        mine, theirs = model.image_buffers[domain], other.image_buffers[domain]
        assert mine.img_num == theirs.img_num == 2
        assert all(
            torch.equal(a, b) for a, b in zip(mine.image_buffer, theirs.image_buffer, strict=True)
        )


def test_buffers_of_half_precision_are_read_in_full():
    # What --amp saved, a training without it takes steps with.
    model = build(buffer_size=2, semantic=None)
    model.train_step(batch(), optimizers(model))
    half = {
        name: value.half() if name.startswith("image_buffers") else value
        for name, value in get_state_dict(model).items()
    }
    other = build(buffer_size=2, semantic=None)
    load_state_dict(other, half)
    for buffer in other.image_buffers.values():
        assert {image.dtype for image in buffer.image_buffer} == {torch.float32}
    for _ in range(4):
        other.train_step(batch(), optimizers(other))


@pytest.mark.parametrize("training", [True, False])
def test_testing_translates_one_way_and_keeps_the_mode(training):
    model = build(semantic=None).train(training)
    calls = {name: [] for name in model.generators}
    for name, generator in model.generators.items():
        generator.register_forward_hook(lambda *_, name=name: calls[name].append(1))
    image = torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8)
    data = dict(inputs=[image], data_samples=[SegDataSample()])
    (sample,) = model.test_step(data)
    assert (len(calls["source"]), len(calls["target"])) == (0, 1)
    assert model.training == training
    expected = model.generators["target"](image.flip(0)[None] / 127.5 - 1)[0] * 127.5 + 127.5
    assert torch.allclose(sample.fake_target, expected, atol=1e-3)


def test_both_modes_translate_alike():
    model = build(semantic=None)
    image = torch.rand(1, 3, 32, 32)
    results = [
        model.train(mode).forward_test(image, target_domain="target")["target"]
        for mode in (True, False)
    ]
    assert torch.equal(*results)


@pytest.mark.parametrize(
    "change",
    [
        dict(norm_cfg=dict(type="BN")),
        dict(norm_cfg=dict(type="BN", track_running_stats=False)),
        dict(use_dropout=True),
    ],
    ids=["norm", "batch", "dropout"],
)
def test_generators_that_depend_on_the_mode_are_refused(change):
    with pytest.raises(ValueError, match="depend on the mode or on other images"):
        MODELS.build(
            dict(
                type="mmagic.CyCADA",
                generator=dict(GENERATOR, **change),
                discriminator=DISCRIMINATOR,
                data_preprocessor=PREPROCESSOR,
            )
        )


def test_weights_of_the_segmentor(tmp_path):
    torch.manual_seed(1)
    trained = MODELS.build(copy.deepcopy(SEGMENTOR))
    plain = trained.state_dict()
    torch.save(dict(state_dict=plain), tmp_path / "plain.pth")
    wrapped = {f"segmentor.{name}": value for name, value in plain.items()} | {
        "heads.x": torch.zeros(1)
    }
    torch.save(dict(state_dict=wrapped), tmp_path / "adaptor.pth")
    for name in ("plain.pth", "adaptor.pth"):
        semantic = dict(segmentor=copy.deepcopy(SEGMENTOR), checkpoint=str(tmp_path / name))
        model = build(semantic=semantic)
        model.init_weights()
        assert isinstance(model.semantic.segmentor, BaseModule)
        found = model.semantic.segmentor.state_dict()
        assert all(torch.equal(found[key], plain[key]) for key in plain)
    for missing in (None, str(tmp_path / "none.pth")):
        model = build(semantic=dict(segmentor=copy.deepcopy(SEGMENTOR), checkpoint=missing))
        with pytest.raises(FileNotFoundError, match="configs/source_only"):
            model.init_weights()


def test_a_batch_of_one_domain_is_refused():
    data = batch()
    data = {key: values[:1] for key, values in data.items()}
    with pytest.raises(ValueError, match="both domains"):
        build(semantic=None).data_preprocessor(data, True)


def test_several_ranks_are_refused(monkeypatch):
    monkeypatch.setattr(cycada, "get_world_size", lambda: 2)
    with pytest.raises(ValueError, match="one device"):
        build(semantic=None).train_step(batch(), None)
