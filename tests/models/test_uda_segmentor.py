import copy

import pytest
import torch
import torch.nn.functional as F
from mmengine.optim import OptimWrapper
from mmengine.runner import load_checkpoint
from mmseg.models.decode_heads.fcn_head import FCNHead
from mmseg.registry import MODELS
from tiny_adaptor import (
    BANDWIDTH,
    CLASSES,
    MARGIN,
    MODES,
    PREPROCESSOR,
    SIZE,
    TERMS,
    batch,
    build,
    losses_of,
    plain_config,
)
from torch import nn

from mmdrsl.engine.bn_statistics import take_statistics
from mmdrsl.models.adaptation_step import AdaptationProgress

LEARNING_RATE = 0.05


def replay(model, images, labels, num_source, seed):
    """The same objective in plain PyTorch; only convolutions, norms and random numbers are the model's."""
    features = model.segmentor.backbone((images.float() - 100) / 50)
    head = model.segmentor.decode_head
    logits = head.conv_seg(head.convs(features[-1]))
    logits = F.interpolate(logits, size=(SIZE, SIZE), mode="bilinear", align_corners=False)
    source, target = logits[:num_source], logits[num_source:]
    losses = dict(
        source=F.cross_entropy(source, labels[:num_source], ignore_index=255),
        target=0.8 * F.cross_entropy(target, labels[num_source:], ignore_index=255),
    )
    entropy = -target.log_softmax(1).mean(1)[labels[num_source:] != 255]
    losses["mrkld"] = 0.3 * entropy.mean()
    embeddings = F.normalize(model.heads["mmdl"].project(features[-1]), dim=1)
    modes = F.normalize(model.heads["mmdl"].representatives, dim=-1)
    small = labels[:, 4::8, 4::8]  # the center of each feature cell
    pixels, groups = [], []
    torch.manual_seed(seed)
    for name, part in (
        ("metric", slice(None, num_source)), ("metric_target", slice(num_source, None))
    ):  # fmt: skip
        own = small[part][small[part] != 255]
        # Every pixel is in the sample, sorted by class and within a class at random.
        order = torch.argsort(own + torch.rand(len(own), dtype=torch.float64))
        values, own = embeddings[part].movedim(1, -1)[small[part] != 255][order], own[order]
        d2 = (values[:, None, None] - modes).square().sum(-1)
        near = d2.amin(2)
        rest = torch.stack([near[n, torch.arange(CLASSES) != c].min() for n, c in enumerate(own)])
        rows = torch.arange(len(own))
        density = (-d2 / (2 * BANDWIDTH**2)).exp()
        log_q = (density[rows, own].sum(1) / density.sum((1, 2))).log()
        value = (near[rows, own] - rest + MARGIN).clamp(min=0) - 0.5 * log_q
        means = [value[own == c].mean() for c in own.unique()]
        losses[name] = 0.4 * torch.stack(means).mean()
        with torch.no_grad():
            shares = density[rows, own] / density[rows, own].sum(1, keepdim=True)
            drawn = torch.multinomial(shares, 1)[:, 0]
        pixels.append(values)
        groups.append(own * MODES + drawn)
    members = [[(g == k).nonzero()[:, 0] for k in range(CLASSES * MODES)] for g in groups]
    shared = [k for k in range(CLASSES * MODES) if min(len(m[k]) for m in members) >= 4]
    pairs = []
    for values, own in zip(pixels, members, strict=True):
        noise = torch.rand(2, len(shared), 6)[0]
        pairs.append(
            [values[own[k][(noise[n] * len(own[k])).long()]] for n, k in enumerate(shared)]
        )
    gaps = [(s - t).square().sum(1).mean() for s, t in zip(*pairs, strict=True)]
    losses["alignment"] = 2.0 * 0.3 * torch.stack(gaps).mean()
    return losses


def test_one_step_replayed():
    model = build()
    model.progress = AdaptationProgress(round=1, adaptation_iteration=3)
    plain = copy.deepcopy(model)
    data = batch("target", "source", "target", "source")
    order = [1, 3, 0, 2]
    images = torch.stack([data["inputs"][i] for i in order])
    labels = torch.cat([data["data_samples"][i].gt_sem_seg.data for i in order])

    expected = replay(plain, images, labels, 2, seed=5)
    weights = dict(plain.named_parameters())
    gradients = torch.autograd.grad(sum(expected.values()), weights.values())
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)
    torch.manual_seed(5)
    log = model.train_step(data, OptimWrapper(optimizer))

    names = dict(
        source="source.loss_ce",
        target="target.loss_ce",
        mrkld="mrkld.loss_mrkld",
        metric="metric.loss_source",
        metric_target="metric_target.loss_target",
        alignment="alignment.loss_alignment",
    )
    assert {name for name in log if "loss" in name} == {"loss", *names.values()}
    for name, key in names.items():
        assert log[key].item() == pytest.approx(expected[name].item(), rel=1e-4), name
    assert log["loss"].item() == pytest.approx(sum(expected.values()).item(), rel=1e-4)
    for (name, before), gradient in zip(weights.items(), gradients, strict=True):
        after = model.get_parameter(name)
        assert (gradient != 0).any(), name
        torch.testing.assert_close(
            after, before - LEARNING_RATE * gradient, rtol=1e-3, atol=2e-6, msg=name
        )


def test_losses_change_only_batch_statistics():
    model = build()
    before, progress = copy.deepcopy(model.state_dict()), copy.deepcopy(model.progress)
    losses_of(model, "source", "target")
    changed = {
        name for name, value in model.state_dict().items() if not torch.equal(value, before[name])
    }
    assert changed
    assert all("running_" in name or "num_batches_tracked" in name for name in changed)
    assert model.progress == progress
    after = copy.deepcopy(model.state_dict())
    data = model.data_preprocessor(batch("source"), False)
    model.eval()
    for mode in ("predict", "tensor"):
        model(data["inputs"], data["data_samples"], mode=mode)
    assert all(torch.equal(value, after[name]) for name, value in model.state_dict().items())


def test_names_of_optimized_values():
    losses = losses_of(build(segmentor=plain_config(auxiliary=True)), "source", "target")
    optimized = {name for name in losses if "loss" in name}
    assert optimized == {name for name in losses if name.split(".")[-1].startswith("loss_")}
    assert {"source.loss_ce", "source.aux_0.loss_ce", "target.aux_0.loss_ce"} <= optimized
    assert {"source.acc_seg", "target.aux_0.acc_seg"} <= losses.keys() - optimized
    with pytest.raises(ValueError, match="give it another name"):
        build(terms=dict(my_loss=TERMS["source"]))


@pytest.mark.parametrize("bn_mode", ["joint", "separate", "domain_specific", "frozen"])
def test_auxiliary_heads_are_normalized_as_the_decode_head_is(bn_mode):
    model = build(segmentor=plain_config(auxiliary=True), bn_mode=bn_mode)
    model.progress = AdaptationProgress(round=1, adaptation_iteration=0)
    layers = [
        layer
        for head in (model.segmentor.decode_head, model.segmentor.auxiliary_head)
        for layer in head.modules()
        if isinstance(layer, nn.BatchNorm2d)
    ]
    seen = {layer: [] for layer in layers}
    for layer in layers:
        layer.register_forward_pre_hook(lambda layer, inputs: seen[layer].append(inputs[0]))
    before = [layer.running_mean.clone() for layer in layers]
    losses_of(model, "source", "source", "target", "target")
    for layer, mean in zip(layers, before, strict=True):
        passes = [each.mean((0, 2, 3)) for each in seen[layer]]
        assert len(passes) == (1 if bn_mode in ("joint", "frozen") else 2)
        counted = dict(frozen=[], domain_specific=passes[-1:]).get(bn_mode, passes)
        wanted = mean
        for each in counted:
            wanted = wanted.lerp(each, layer.momentum)
        torch.testing.assert_close(layer.running_mean, wanted)
        assert bn_mode == "frozen" or not torch.allclose(layer.running_mean, mean)


def test_statistics_of_images_reach_auxiliary_heads():
    model = build(segmentor=plain_config(auxiliary=True))
    (layer,) = (
        each
        for each in model.segmentor.auxiliary_head.modules()
        if isinstance(each, nn.BatchNorm2d)
    )
    inputs = []
    layer.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    take_statistics(model.networks(), [torch.randn(4, 3, SIZE, SIZE)])
    (images,) = inputs
    torch.testing.assert_close(layer.running_mean, images.mean((0, 2, 3)))
    assert layer.running_mean.any()


def test_target_without_valid_labels():
    model = build()
    data = batch("source", "source", "target", "target")
    for item in data["data_samples"][2:]:
        item.gt_sem_seg.data[:] = 255
    losses = model.loss(**model.data_preprocessor(data, True))
    model.parse_losses(losses)[0].backward()
    for name in (
        "target.loss_ce",
        "mrkld.loss_mrkld",
        "metric_target.loss_target",
        "alignment.loss_alignment",
    ):
        assert losses[name] == 0, name
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_source_must_come_first():
    model = build()
    data = batch("target", "source")
    with pytest.raises(ValueError, match="UDADataPreprocessor"):
        model.loss(torch.stack(data["inputs"]).float(), data["data_samples"])


def test_preprocessor_orders_only_in_training():
    model = build()
    data = batch("target", "source", "target", "source")
    trained = model.data_preprocessor(data, True)
    kept = [1, 3, 0, 2]
    expected = (torch.stack([data["inputs"][i] for i in kept]).float() - 100) / 50
    torch.testing.assert_close(trained["inputs"], expected)
    domains = [item.metainfo["domain"] for item in trained["data_samples"]]
    assert domains == ["source"] * 2 + ["target"] * 2
    for position, index in enumerate(kept):
        assert torch.equal(
            trained["data_samples"][position].gt_sem_seg.data,
            data["data_samples"][index].gt_sem_seg.data,
        )
    tested = model.data_preprocessor(data, False)
    assert tested["data_samples"][0].metainfo["domain"] == "target"


def test_plain_checkpoint_loads(tmp_path):
    torch.manual_seed(5)
    plain = MODELS.build(plain_config()).eval()
    path = tmp_path / "plain.pth"
    torch.save(dict(state_dict=plain.state_dict(), meta={}), path)
    model = build(1).eval()
    heads = copy.deepcopy(model.heads.state_dict())
    load_checkpoint(model, str(path), map_location="cpu")
    for name, value in plain.state_dict().items():
        assert torch.equal(model.segmentor.state_dict()[name], value)
    assert all(torch.equal(value, heads[n]) for n, value in model.heads.state_dict().items())
    images = torch.randn(1, 3, SIZE, SIZE)
    torch.testing.assert_close(model(images), plain(images))
    data = batch("source")["data_samples"]
    predicted, expected = model.predict(images, data)[0], plain.predict(images, data)[0]
    assert torch.equal(predicted.pred_sem_seg.data, expected.pred_sem_seg.data)
    # An own checkpoint, and a strict load, work too.
    build(2).load_state_dict(model.state_dict(), strict=True)
    lacking = build(2).load_state_dict(plain.state_dict(), strict=False)
    assert not lacking.unexpected_keys
    assert all(key.startswith("heads.") for key in lacking.missing_keys)


def test_unsuitable_segmentor():
    with pytest.raises(TypeError, match="FCNHead cannot be adapted: it follows"):
        MODELS.build(
            dict(
                type="UDASegmentor",
                segmentor=dict(
                    plain_config(),
                    type="CascadeEncoderDecoder",
                    num_stages=2,
                    decode_head=[plain_config()["decode_head"]] * 2,
                ),
            )
        )


def test_one_output_for_two_classes_is_refused():
    loss = dict(type="CrossEntropyLoss", use_sigmoid=True)
    head = dict(plain_config()["decode_head"], num_classes=2, loss_decode=loss)
    for options in (dict(out_channels=1, threshold=0.5), dict(num_classes=1)):
        segmentor = dict(plain_config(), decode_head=dict(head, **options))
        with pytest.raises(ValueError, match=r"FCNHead has out_channels=1 .* one score for each"):
            MODELS.build(dict(type="UDASegmentor", segmentor=segmentor))
    # One score for each of them is fine.
    MODELS.build(dict(type="UDASegmentor", segmentor=dict(plain_config(), decode_head=head)))


class OwnLoss(FCNHead):
    """Takes its loss from more than its output."""

    def loss(self, inputs, batch_data_samples, train_cfg):
        return super().loss(inputs, batch_data_samples, train_cfg)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(type="DepthEstimator"), "DepthEstimator cannot be adapted: it estimates depth"),
        (dict(type="MultimodalEncoderDecoder"), "it does not consist of one backbone"),
        (dict(decode_head=dict(type=OwnLoss)), r"OwnLoss cannot be adapted: it has a loss\(\)"),
        (
            dict(decode_head=dict(type="DRSLHead")),
            "DRSLHead cannot be adapted: it is no BaseDecode",
        ),
    ],
)
def test_what_cannot_be_adapted_is_refused_by_name(changes, message):
    with pytest.raises(TypeError, match=message):
        MODELS.build(dict(type="UDASegmentor", segmentor=dict(plain_config(), **changes)))


def test_heads_take_up_their_initialization():
    constant = dict(type="Constant", layer="Conv2d", val=0.25)
    head = dict(type="MMDLHead", init_cfg=constant)
    model = MODELS.build(dict(type="UDASegmentor", segmentor=plain_config(), heads=dict(own=head)))
    convolutions = [m for m in model.heads["own"].modules() if isinstance(m, torch.nn.Conv2d)]
    assert convolutions
    assert all((layer.weight == 0.25).all() for layer in convolutions)


def test_missing_head():
    terms = dict(metric=dict(type="ModeMetricTerm", domain="source", head="other"))
    with pytest.raises(ValueError, match=r"'other', but the adaptor has \['mmdl'\]"):
        losses_of(build(terms=terms), "source", "source")


def test_head_outputs_are_computed_once(monkeypatch):
    model = build()
    calls = []
    forward = model.heads["mmdl"].forward
    monkeypatch.setattr(
        model.heads["mmdl"], "forward", lambda inputs: calls.append(1) or forward(inputs)
    )
    losses_of(model, "source", "source", "target", "target")
    assert len(calls) == 1


@pytest.mark.parametrize("bn_mode", ["separate", "domain_specific"])
def test_domains_normalized_apart(bn_mode):
    model = build(bn_mode=bn_mode)
    mixed = losses_of(copy.deepcopy(model), "source", "source", "target", "target")
    alone = losses_of(copy.deepcopy(model), "source", "source")
    # Target images in the batch leave the source's own losses as they are, in all heads.
    for name in ("source.loss_ce", "metric.loss_source"):
        assert torch.allclose(mixed[name], alone[name], atol=1e-6)
    joint = losses_of(build(), "source", "source", "target", "target")
    assert not torch.allclose(mixed["source.loss_ce"], joint["source.loss_ce"], atol=1e-4)


@pytest.mark.parametrize(
    ("bn_mode", "counted"), [("domain_specific", ("target",)), ("separate", ("source", "target"))]
)
def test_which_passes_the_running_statistics_take_up(bn_mode, counted):
    model = build(bn_mode=bn_mode)
    images = model.data_preprocessor(batch("source", "source", "target", "target"), True)["inputs"]
    losses_of(model, "source", "source", "target", "target")
    reference = build()
    for part in [dict(source=images[:2], target=images[2:])[name] for name in counted]:
        reference.segmentor.decode_head(reference.extract_feat(part))
    statistics = [name for name in reference.segmentor.state_dict() if "running" in name]
    assert statistics
    for name in statistics:
        found, wanted = (each.segmentor.state_dict()[name] for each in (model, reference))
        assert torch.allclose(found, wanted, atol=1e-6), name


@pytest.mark.parametrize(("bn_mode", "passes"), [("separate", [2]), ("domain_specific", [2, 3])])
def test_target_images_that_no_term_reads(bn_mode, passes):
    terms = dict(source=TERMS["source"], metric=TERMS["metric"])
    model = build(terms=terms, bn_mode=bn_mode)
    found = []
    model.segmentor.backbone.register_forward_pre_hook(
        lambda _, inputs: found.append(len(inputs[0]))
    )
    losses_of(model, "source", "source", "target", "target", "target")
    assert found == passes


def test_memory_format_changes_rounding_alone():
    terms = dict(source=TERMS["source"])
    plain = losses_of(build(terms=terms), "source", "source")
    model = build(terms=terms, memory_format="channels_last")
    seen = []
    model.segmentor.backbone.conv1.register_forward_pre_hook(
        lambda _, inputs: seen.append(inputs[0])
    )
    found = losses_of(model, "source", "source")
    torch.testing.assert_close(found, plain, rtol=1e-4, atol=1e-5)
    weight = model.segmentor.backbone.layer1[0].conv1.weight
    assert all(each.is_contiguous(memory_format=torch.channels_last) for each in (*seen, weight))
    with pytest.raises(ValueError, match=r"model.memory_format must be one of .*, found 'last'"):
        build(memory_format="last")


def test_rounds_keep_the_statistics_of_the_warm_up():
    model = build(bn_mode="frozen")
    losses_of(model, "source", "source", "source")
    before = {name: value.clone() for name, value in model.named_buffers()}
    assert any((value != 0).any() for name, value in before.items() if "running_mean" in name)

    model.progress.round = 1
    losses = losses_of(model, "source", "source", "target", "target")
    alone = losses_of(model, "source", "source")
    # The other domain in the batch changes nothing, in further heads neither.
    for name in ("source.loss_ce", "metric.loss_source"):
        assert torch.allclose(losses[name], alone[name], atol=1e-6)
    losses["source.loss_ce"].backward()
    layers = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert all(layer.training for layer in layers)
    assert (model.segmentor.backbone.bn1.weight.grad != 0).any()
    for name, value in model.named_buffers():
        assert torch.equal(before[name], value), name

    # Trained under the statistics with which the model predicts.
    images = model.data_preprocessor(batch("source", "source", "target", "target"), True)
    labels = torch.cat([each.gt_sem_seg.data for each in images["data_samples"][:2]])
    predicted = model.eval().encode_decode(images["inputs"][:2], [dict(img_shape=(SIZE, SIZE))] * 2)
    expected = F.cross_entropy(predicted, labels, ignore_index=255)
    assert torch.allclose(losses["source.loss_ce"], expected, atol=1e-6)


def test_unknown_bn_mode():
    with pytest.raises(ValueError, match=r"model.bn_mode must be one of .*, found 'both'"):
        build(bn_mode="both")


def test_heads_beside_the_warm_up():
    terms = dict(source=TERMS["source"], metric=TERMS["metric"])
    torch.manual_seed(0)
    plain = MODELS.build(
        dict(type="UDASegmentor", segmentor=plain_config(), terms=dict(source=TERMS["source"]),
             data_preprocessor=PREPROCESSOR)
    ).train()  # fmt: skip
    beside = build(terms=terms, heads_shape_warmup=False)
    representatives = beside.heads["mmdl"].representatives.detach().clone()
    for model in (plain, beside):
        wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=0.9))
        for step in range(3):
            model.train_step(batch("source", "source", seed=step), wrapper)
    for name, value in plain.segmentor.state_dict().items():
        assert torch.equal(value, beside.segmentor.state_dict()[name]), name
    assert not torch.equal(representatives, beside.heads["mmdl"].representatives)


@pytest.mark.parametrize(("shaping", "round_number"), [(True, 0), (False, 0), (False, 1)])
def test_when_heads_reach_the_backbone(shaping, round_number):
    model = build(terms=dict(metric=TERMS["metric"]), heads_shape_warmup=shaping)
    model.progress = AdaptationProgress(round=round_number)
    losses_of(model, "source", "source")["metric.loss_source"].backward()
    reaches = any(p.grad is not None for p in model.segmentor.backbone.parameters())
    assert reaches is (shaping or round_number > 0)
    assert model.heads["mmdl"].representatives.grad.abs().sum() > 0


def test_channels_last_leaves_a_head_contiguous_that_views_its_maps():
    head = dict(
        type="DMHead",
        filter_sizes=(1, 3),
        fusion=False,
        in_channels=32,
        in_index=3,
        channels=8,
        num_classes=CLASSES,
        norm_cfg=dict(type="BN"),
        align_corners=False,
    )
    segmentor = dict(plain_config(), decode_head=head)
    terms = dict(source=TERMS["source"])
    metas = [dict(ori_shape=(SIZE, SIZE), img_shape=(SIZE, SIZE))] * 2
    found = []
    for memory_format in ("contiguous", "channels_last"):
        model = build(segmentor=segmentor, terms=terms, memory_format=memory_format).eval()
        with torch.no_grad():
            found.append(model.segmentor.encode_decode(torch.ones(2, 3, SIZE, SIZE), metas))
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-5)
