import copy

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.optim import OptimWrapper
from mmengine.runner import load_checkpoint
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import nn

from mmdrsl.engine.bn_statistics import take_statistics
from mmdrsl.models.adaptation_step import AdaptationProgress

CLASSES, MODES, DIM, SIZE = 3, 2, 8, 64
BANDWIDTH, MARGIN = 0.5, 0.5
LEARNING_RATE = 0.05


def plain_config(*, auxiliary=False, dropout_ratio=0.0):
    head = dict(
        type="FCNHead",
        in_channels=32,
        in_index=3,
        channels=8,
        num_convs=1,
        concat_input=False,
        num_classes=CLASSES,
        dropout_ratio=dropout_ratio,
        norm_cfg=dict(type="BN"),
        align_corners=False,
        loss_decode=dict(type="CrossEntropyLoss", avg_non_ignore=True),
    )
    return dict(
        type="EncoderDecoder",
        backbone=dict(
            type="ResNet",
            depth=18,
            stem_channels=4,
            base_channels=4,
            strides=(1, 2, 1, 1),
            dilations=(1, 1, 2, 4),
            norm_cfg=dict(type="BN"),
            norm_eval=False,
        ),
        decode_head=head,
        auxiliary_head=dict(head, in_channels=16, in_index=2) if auxiliary else None,
        train_cfg=dict(),
        test_cfg=ConfigDict(mode="whole"),
    )


TERMS = dict(
    source=dict(type="SegmentationTerm", domain="source"),
    target=dict(type="SegmentationTerm", domain="target", weight=0.8),
    mrkld=dict(type="ModelRegularizationTerm", weight=0.3),
    metric=dict(
        type="ModeMetricTerm",
        weight=0.4,
        loss=dict(
            type="ModeMetricLoss", margin=MARGIN, posterior_weight=0.5, usage_weight=0,
            spread_weight=0, max_pixels_per_class=10**6,
        ),
    ),
    alignment=dict(
        type="ModeAlignmentTerm",
        weight=2.0,
        ramp_iterations=10,
        loss=dict(
            type="StochasticModeAlignmentLoss", distance="mean", stochastic=False, min_pixels=4,
            max_pixels_per_class=10**6,
        ),
    ),
)  # fmt: skip


def build(seed=0, *, terms=TERMS, classes=CLASSES, segmentor=None, memory_size=0, **options):
    torch.manual_seed(seed)
    mmdl = dict(
        type="MMDLHead", in_channels=32, num_classes=classes, num_modes=MODES, embedding_dim=DIM,
        hidden_channels=16, bandwidth=BANDWIDTH, memory_size=memory_size,
    )  # fmt: skip
    return MODELS.build(
        dict(
            type="UDASegmentor",
            data_preprocessor=dict(
                type="UDADataPreprocessor", mean=[100.0] * 3, std=[50.0] * 3, size=(SIZE, SIZE)
            ),
            segmentor=segmentor or plain_config(),
            heads=dict(mmdl=mmdl),
            **options,
            terms=terms,
        )
    ).train()


def sample(domain, generator):
    """Blocks of one class each; a fifth of the blocks is ignored on the target."""
    blocks = torch.randint(CLASSES, (1, 8, 8), generator=generator)
    if domain == "target":
        blocks[torch.rand(1, 8, 8, generator=generator) < 0.2] = 255
    # Shifted against the cells of the features, so that it matters which pixel stands for a cell.
    labels = blocks.repeat_interleave(8, 1).repeat_interleave(8, 2).roll((3, 3), (1, 2))
    data = SegDataSample(gt_sem_seg=PixelData(data=labels))
    data.set_metainfo(dict(domain=domain, img_shape=(SIZE, SIZE), ori_shape=(SIZE, SIZE)))
    image = torch.randint(256, (3, SIZE, SIZE), generator=generator, dtype=torch.uint8)
    return image, data


def batch(*domains, seed=0):
    generator = torch.Generator().manual_seed(seed)
    items = [sample(domain, generator) for domain in domains]
    return dict(inputs=[image for image, _ in items], data_samples=[data for _, data in items])


def losses_of(model, *domains):
    data = model.data_preprocessor(batch(*domains), True)
    return model.loss(data["inputs"], data["data_samples"])


def replay(model, images, labels, num_source):
    """The same objective in plain PyTorch; only convolutions and norms are the model's."""
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
    centers = []
    for part in (slice(None, num_source), slice(num_source, None)):
        pixels = embeddings[part].movedim(1, -1)[small[part] != 255]
        own = small[part][small[part] != 255]
        d2 = (pixels[:, None, None] - modes).square().sum(-1)
        near = d2.amin(2)
        rest = torch.stack([near[n, torch.arange(CLASSES) != c].min() for n, c in enumerate(own)])
        rows = torch.arange(len(own))
        log_q = (-d2 / (2 * BANDWIDTH**2)).exp()
        log_q = (log_q[rows, own].sum(1) / log_q.sum((1, 2))).log()
        value = (near[rows, own] - rest + MARGIN).clamp(min=0) - 0.5 * log_q
        means = [value[own == c].mean() for c in own.unique()]
        losses["metric." + ("source" if part.start is None else "target")] = (
            0.4 * torch.stack(means).mean()
        )
        chosen = d2[rows, own].argmin(1)
        centers.append([pixels[(own == c) & (chosen == k)]
                        for c in range(CLASSES) for k in range(MODES)])  # fmt: skip
    gaps = [2 * (s.mean(0) - t.mean(0)).square().sum()
            for s, t in zip(*centers, strict=True) if min(len(s), len(t)) >= 4]  # fmt: skip
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

    expected = replay(plain, images, labels, 2)
    weights = dict(plain.named_parameters())
    gradients = torch.autograd.grad(sum(expected.values()), weights.values())
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)
    log = model.train_step(data, OptimWrapper(optimizer))

    found = {name: value.item() for name, value in log.items()}
    assert found["source.loss_ce"] == pytest.approx(expected["source"].item(), rel=1e-4)
    assert found["target.loss_ce"] == pytest.approx(expected["target"].item(), rel=1e-4)
    assert found["mrkld.loss_mrkld"] == pytest.approx(expected["mrkld"].item(), rel=1e-4)
    for domain in ("source", "target"):
        assert found[f"metric.loss_{domain}"] == pytest.approx(
            expected[f"metric.{domain}"].item(), rel=1e-4
        )
    assert found["alignment.loss_alignment"] == pytest.approx(
        expected["alignment"].item(), rel=1e-3
    )
    assert found["loss"] == pytest.approx(sum(expected.values()).item(), rel=1e-4)
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


@pytest.mark.parametrize("normalization", ["joint", "domain_specific", "frozen"])
def test_auxiliary_heads_are_normalized_as_the_decode_head_is(normalization):
    model = build(segmentor=plain_config(auxiliary=True), normalization=normalization)
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
        assert len(passes) == (2 if normalization == "domain_specific" else 1)
        wanted = mean if normalization == "frozen" else mean.lerp(passes[-1], layer.momentum)
        torch.testing.assert_close(layer.running_mean, wanted)
        assert normalization == "frozen" or not torch.allclose(layer.running_mean, mean)


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


def test_weight_scales_losses_of_all_heads_but_no_diagnostics():
    config = plain_config(auxiliary=True)
    once = losses_of(build(terms=dict(s=TERMS["source"]), segmentor=config), "source", "source")
    thrice = dict(s=dict(TERMS["source"], weight=3.0))
    tripled = losses_of(build(terms=thrice, segmentor=config), "source", "source")
    assert {name: (tripled[name] / value).item() for name, value in once.items() if value} == (
        pytest.approx({n: 3 if "loss" in n else 1 for n, value in once.items() if value})
    )
    assert sum("loss" in name for name in once) == 2


def test_batch_without_target():
    losses = losses_of(build(), "source", "source")
    assert {name.split(".")[0] for name in losses} == {"source", "metric"}
    assert "metric.loss_target" not in losses
    with pytest.raises(ValueError, match=r"No term of \['target'\]"):
        losses_of(build(terms=dict(target=TERMS["target"])), "source", "source")


def test_batch_without_source():
    losses = losses_of(build(), "target", "target")
    assert {name.split(".")[0] for name in losses} == {"target", "mrkld", "metric"}
    assert "metric.loss_source" not in losses


def test_target_without_valid_labels():
    model = build()
    data = batch("source", "source", "target", "target")
    for item in data["data_samples"][2:]:
        item.gt_sem_seg.data[:] = 255
    losses = model.loss(**model.data_preprocessor(data, True))
    model.parse_losses(losses)[0].backward()
    for name in ("target.loss_ce", "mrkld.loss_mrkld", "metric.loss_target"):
        assert losses[name] == 0
    assert losses["alignment.loss_alignment"] == 0
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


def test_wrong_number_of_classes():
    with pytest.raises(ValueError, match=r"heads\.mmdl has num_classes=5, the segmentor has 3"):
        build(classes=5)


def test_unsuitable_segmentor():
    with pytest.raises(TypeError, match="one decode head that offers loss_by_feat"):
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


def test_heads_take_up_their_initialization():
    constant = dict(type="Constant", layer="Conv2d", val=0.25)
    head = dict(type="MMDLHead", in_channels=8, num_classes=CLASSES, init_cfg=constant)
    model = MODELS.build(dict(type="UDASegmentor", segmentor=plain_config(), heads=dict(own=head)))
    convolutions = [m for m in model.heads["own"].modules() if isinstance(m, torch.nn.Conv2d)]
    assert convolutions
    assert all((layer.weight == 0.25).all() for layer in convolutions)


def test_missing_head():
    terms = dict(metric=dict(type="ModeMetricTerm", head="other"))
    with pytest.raises(ValueError, match=r"'other', but the adaptor has \['mmdl'\]"):
        losses_of(build(terms=terms), "source", "source")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(type="SegmentationTerm", domain="both"), "'source' or 'target'"),
        (dict(type="ModeMetricTerm", domains=()), "domains must be"),
        (dict(type="ModeMetricTerm", domains=("test",)), "domains must be"),
    ],
)
def test_terms_refuse(options, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(options)


@pytest.mark.parametrize(("iteration", "factor"), [(-1, 0), (0, 0), (5, 0.5), (10, 1), (50, 1)])
def test_alignment_ramp(iteration, factor):
    model = build()
    state = copy.deepcopy(model.state_dict())
    model.progress.adaptation_iteration = 10
    full = losses_of(model, "source", "source", "target", "target")["alignment.loss_alignment"]
    model.load_state_dict(state)
    model.progress.adaptation_iteration = iteration
    value = losses_of(model, "source", "source", "target", "target")["alignment.loss_alignment"]
    assert full > 0
    torch.testing.assert_close(value, factor * full)


def weighted_losses(weights, terms=TERMS):
    """Losses of one batch whose pseudo labels carry the same weight each, or none."""
    names = ("metric", "alignment")
    terms = {n: dict(terms[n], weighted=weights is not None) for n in names}
    model = build(terms=terms)
    model.progress.adaptation_iteration = 10
    data = batch("source", "source", "target", "target")
    for item in data["data_samples"][2:]:
        if weights is not None:
            map_ = torch.full((1, SIZE, SIZE), 255 * weights)
            item.set_data(dict(gt_confidence=PixelData(data=map_)))
    return model.loss(**model.data_preprocessor(data, True))


def test_pseudo_label_weights_reach_the_losses():
    plain = weighted_losses(None)
    for weight in (1.0, 0.25):
        losses = weighted_losses(weight)
        torch.testing.assert_close(losses["metric.loss_source"], plain["metric.loss_source"])
        for name in ("metric.loss_target", "alignment.loss_alignment"):
            assert plain[name] > 0
            torch.testing.assert_close(losses[name], weight * plain[name])


def test_missing_weights_are_named():
    terms = dict(metric=dict(TERMS["metric"], weighted=True))
    with pytest.raises(ValueError, match="PackTargetInputs"):
        losses_of(build(terms=terms), "source", "target")


def test_pure_labels_alone_are_used():
    def gradient(purity):
        terms = dict(metric=dict(TERMS["metric"], min_label_purity=purity))
        model = build(terms=terms)
        data = model.data_preprocessor(batch("source"), True)
        features = model.extract_feat(data["inputs"])
        features[-1].retain_grad()
        model.extract_feat = lambda _: features
        model.heads["mmdl"].eval()  # batch statistics would mix the cells
        model.loss(**data)["metric.loss_source"].backward()
        return (features[-1].grad[0] != 0).any(dim=0), data["data_samples"][0].gt_sem_seg.data[0]

    touched, labels = gradient(0.7)
    cells = labels.reshape(8, 8, 8, 8).transpose(1, 2).flatten(2)
    pure = (cells == cells.mode(dim=2, keepdim=True).values).float().mean(dim=2) >= 0.7
    assert 0 < pure.sum() < pure.numel()
    assert not touched[~pure].any()
    assert touched[pure].any()
    assert gradient(None)[0][~pure].any()


def test_remembered_source_pixels_stand_in_for_a_rare_class():
    terms = dict(alignment=dict(TERMS["alignment"], use_memory=True))
    model = build(terms=terms, memory_size=5)
    model.progress.adaptation_iteration = 10
    memory = model.heads["mmdl"]
    memory.memory_followed = True
    data = batch("source", "target")
    data["data_samples"][0].gt_sem_seg.data[:] = 0
    data["data_samples"][1].gt_sem_seg.data[:] = 1
    state = copy.deepcopy(model.state_dict())
    nothing = model.loss(**model.data_preprocessor(data, True))["alignment.loss_alignment"]
    assert nothing == 0
    model.load_state_dict(state)
    vectors = F.normalize(torch.randn(10, DIM, generator=torch.Generator().manual_seed(0)), dim=1)
    memory.remember(vectors, torch.ones(10, dtype=torch.long))
    embeddings = []
    memory.register_forward_hook(lambda *call: embeddings.append(call[2]))
    found = model.loss(**model.data_preprocessor(data, True))["alignment.loss_alignment"]
    target = embeddings[0][1].flatten(1).t()
    modes, kept = memory.modes()[1], memory.remembered()
    nearest = (target[:, None] - modes).square().sum(-1).argmin(1)
    gaps = []
    for k in range(MODES):
        source = kept[0][kept[1] == MODES + k]
        if len(source) >= 4 and (nearest == k).sum() >= 4:
            gaps.append(2 * (source.mean(0) - target[nearest == k].mean(0)).square().sum())
    assert gaps
    torch.testing.assert_close(found, 2.0 * torch.stack(gaps).mean(), rtol=1e-4, atol=1e-5)
    found.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_memory_that_nobody_fills_is_refused():
    terms = dict(alignment=dict(TERMS["alignment"], use_memory=True))
    with pytest.raises(ValueError, match=r"nobody fills: add .*ModeMemoryHook', head='mmdl'"):
        losses_of(build(terms=terms, memory_size=5), "source", "target")


def test_memory_without_size_is_refused():
    terms = dict(alignment=dict(TERMS["alignment"], use_memory=True))
    with pytest.raises(ValueError, match="set its memory_size above 0"):
        losses_of(build(terms=terms), "source", "target")


def test_head_outputs_are_computed_once(monkeypatch):
    model = build()
    calls = []
    forward = model.heads["mmdl"].forward
    monkeypatch.setattr(
        model.heads["mmdl"], "forward", lambda inputs: calls.append(1) or forward(inputs)
    )
    losses_of(model, "source", "source", "target", "target")
    assert len(calls) == 1


def test_domains_normalized_apart():
    model = build(normalization="domain_specific")
    mixed = losses_of(copy.deepcopy(model), "source", "source", "target", "target")
    alone = losses_of(copy.deepcopy(model), "source", "source")
    # Target images in the batch leave the source's own losses as they are, in all heads.
    for name in ("source.loss_ce", "metric.loss_source"):
        assert torch.allclose(mixed[name], alone[name], atol=1e-6)
    joint = losses_of(build(), "source", "source", "target", "target")
    assert not torch.allclose(mixed["source.loss_ce"], joint["source.loss_ce"], atol=1e-4)


def test_running_statistics_follow_the_target():
    model = build(normalization="domain_specific")
    images = model.data_preprocessor(batch("source", "source", "target", "target"), True)["inputs"]
    losses_of(model, "source", "source", "target", "target")
    reference = build()
    reference.segmentor.decode_head(reference.extract_feat(images[2:]))
    for module in (model.segmentor, reference.segmentor):
        assert any("running_mean" in name for name in module.state_dict())
    for name, value in reference.segmentor.state_dict().items():
        if "running" in name:
            assert torch.allclose(model.segmentor.state_dict()[name], value, atol=1e-6), name


def test_rounds_keep_the_statistics_of_the_warm_up():
    model = build(normalization="frozen")
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


def test_unknown_normalization():
    with pytest.raises(ValueError, match="'joint', 'domain_specific' or 'frozen', found 'both'"):
        build(normalization="both")


def test_heads_beside_the_warm_up():
    terms = dict(source=TERMS["source"], metric=TERMS["metric"])
    torch.manual_seed(0)
    plain = MODELS.build(
        dict(type="UDASegmentor", segmentor=plain_config(), terms=dict(source=TERMS["source"]),
             data_preprocessor=dict(type="UDADataPreprocessor", mean=[100.0] * 3, std=[50.0] * 3,
                                    size=(SIZE, SIZE)))
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
