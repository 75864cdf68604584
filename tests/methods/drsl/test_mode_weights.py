"""Modes as weights of source pixels, against loops over pixels."""

import math

import pytest
import torch
import torch.nn.functional as F
from tiny_adaptor import BANDWIDTH, CLASSES, MODES, batch, build, plain_config

from mmdrsl.methods.drsl import functional

LIMIT = 1.5
TERMS = dict(
    source=dict(type="SegmentationTerm", domain="source"),
    weights=dict(type="ModeWeightTerm", momentum=0.25, limit=LIMIT),
    metric=dict(type="ModeMetricTerm", domain="source"),
)


def adaptor(**options):
    model = build(terms=TERMS, bn_mode="separate", **options)
    model.add_teacher(dict(type="ExponentialMovingAverage", momentum=0.5))
    model.teacher.update_parameters(model.networks())
    model.teacher_statistics = "batch"
    model.calls_after_step = True
    return model.train()


def values_of(model, *domains, seed=0):
    data = model.data_preprocessor(batch(*domains, seed=seed), True)
    return model.loss(data["inputs"], data["data_samples"]), data


def test_weights_of_modes_by_a_loop():
    source = torch.tensor([[6.0, 2.0], [4.0, 0.0], [0.0, 0.0], [1.0, 3.0]])
    target = torch.tensor([[3.0, 9.0], [5.0, 5.0], [2.0, 2.0], [0.0, 0.0]])
    weights = functional.mode_weights(source, target, limit=2.5)
    for c in range(4):
        for k in range(2):
            if source[c].sum() == 0 or target[c].sum() == 0:
                expected = 1.0
            elif source[c, k] == 0:
                expected = 2.5 if target[c, k] > 0 else 1.0
            else:
                ratio = (target[c, k] / target[c].sum()) / (source[c, k] / source[c].sum())
                expected = min(max(float(ratio), 1 / 2.5), 2.5)
            assert float(weights[c, k]) == pytest.approx(expected)


def test_without_a_limit_the_weighted_source_has_the_shares_of_the_target():
    generator = torch.Generator().manual_seed(0)
    source, target = torch.rand(2, 5, 4, generator=generator) + 0.1
    weighted = source * functional.mode_weights(source, target, limit=math.inf)
    torch.testing.assert_close(
        weighted / weighted.sum(1, keepdim=True), target / target.sum(1, keepdim=True)
    )
    torch.testing.assert_close(weighted.sum(1), source.sum(1))


def responsibilities(embedding, label, modes):
    """Modes of one pixel, by hand."""
    scores = [
        -float((embedding - mode).square().sum()) / (2 * BANDWIDTH**2) for mode in modes[label]
    ]
    total = sum(math.exp(score) for score in scores)
    return [math.exp(score) / total for score in scores]


def counts_by_hand(embeddings, labels, modes):
    counts = torch.zeros(CLASSES, MODES)
    for b, y, x in torch.cartesian_prod(*(torch.arange(n) for n in labels.shape)).tolist():
        label = int(labels[b, y, x])
        if label < CLASSES:
            counts[label] += torch.tensor(responsibilities(embeddings[b, :, y, x], label, modes))
    return counts


def test_counts_and_loss_of_two_steps_by_hand():
    model = adaptor()
    model.progress.round = 1
    term = model.terms["weights"]
    domains = ("source", "source", "target", "target")
    seen = {}

    def keep(name):
        return lambda _, __, output: seen.update({name: output.detach()})

    model.heads["mmdl"].register_forward_hook(keep("source"))
    model.teacher.module["heads"]["mmdl"].register_forward_hook(keep("target"))
    model.segmentor.decode_head.register_forward_hook(keep("logits"))
    teacher = model.teacher.module["segmentor"].decode_head
    teacher.register_forward_hook(keep("teacher"))
    expected = torch.zeros(2, CLASSES, MODES)
    for step in range(2):
        values, data = values_of(model, *domains, seed=step)
        labels = torch.cat([each.gt_sem_seg.data for each in data["data_samples"]])[:2]
        size = seen["source"].shape[2:]
        factor = labels.shape[1] // size[0]
        small = labels[:, factor // 2 :: factor, factor // 2 :: factor]
        modes = model.heads["mmdl"].modes().detach()
        weights = functional.mode_weights(expected[0], expected[1], limit=LIMIT)
        pixel_weights = torch.ones(small.shape)
        for b, y, x in torch.cartesian_prod(*(torch.arange(n) for n in small.shape)).tolist():
            label = int(small[b, y, x])
            if label < CLASSES:
                own = responsibilities(seen["source"][b, :, y, x], label, modes)
                pixel_weights[b, y, x] = sum(
                    r * float(w) for r, w in zip(own, weights[label], strict=True)
                )
        pixel_weights = pixel_weights.repeat_interleave(factor, 1).repeat_interleave(factor, 2)
        logits = F.interpolate(seen["logits"], labels.shape[1:], mode="bilinear")
        per_pixel = F.cross_entropy(logits, labels, ignore_index=255, reduction="none")
        loss = (per_pixel * pixel_weights).sum() / (labels != 255).sum()
        found = values["source.loss_ce"] + values["weights.loss_mode_weights"]
        assert float(found.detach()) == pytest.approx(float(loss), rel=1e-5)
        if step == 1:
            assert float(pixel_weights.std()) > 0.01

        counted = torch.stack(
            [
                counts_by_hand(seen["source"], small, modes),
                counts_by_hand(
                    seen["target"],
                    F.interpolate(seen["teacher"], labels.shape[1:], mode="bilinear")
                    .argmax(1)[:, factor // 2 :: factor, factor // 2 :: factor],
                    model.teacher.module["heads"]["mmdl"].modes(),
                ),
            ]
        )  # fmt: skip
        term.after_step({})
        expected = 0.75 * expected + 0.25 * counted
        torch.testing.assert_close(term.counts, expected, rtol=1e-4, atol=1e-4)


def test_checkpoints_hold_the_counts():
    model, other = adaptor(), adaptor(seed=1)
    model.progress.round = 1
    values_of(model, "source", "source", "target", "target")
    model.terms["weights"].after_step({})
    assert model.terms["weights"].has_state
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.terms["weights"].counts, model.terms["weights"].counts)
    assert other.terms["weights"].counts.sum() > 0
    # A checkpoint of before the first round brings none.
    other.load_state_dict(adaptor().state_dict())
    assert other.terms["weights"].counts.numel() == 0


def test_no_gradient_reaches_the_modes_through_the_weights():
    model = adaptor()
    model.progress.round = 1
    for step in range(2):
        values, _ = values_of(model, "source", "source", "target", "target", seed=step)
        model.terms["weights"].after_step({})
    values["weights.loss_mode_weights"].backward()
    assert all(parameter.grad is None for parameter in model.heads.parameters())
    assert model.segmentor.backbone.conv1.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    "options", [dict(momentum=0.0), dict(momentum=1.5), dict(limit=0.5), dict(weight=2.0)]
)
def test_values_out_of_range(options):
    with pytest.raises(ValueError, match="found"):
        build(terms=dict(weights=dict(type="ModeWeightTerm", **options)))


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (dict(loss_decode=dict(type="DiceLoss")), "DiceLoss"),
        (dict(sampler=dict(type="OHEMPixelSampler")), "OHEMPixelSampler"),
    ],
)
def test_heads_that_weights_would_not_weigh_are_refused(options, found):
    segmentor = plain_config()
    segmentor["decode_head"].update(options)
    with pytest.raises(ValueError, match=f"FCNHead, found .*{found}"):
        build(segmentor=segmentor, terms=TERMS)


def wrapped_in_hrda(config):
    return dict(config, type="HRDASegmentor", detail_size=(32, 32))


def as_cascade(config):
    first = config["decode_head"]
    own = {name: first[name] for name in first if name not in ("num_convs", "concat_input")}
    last = dict(own, type="OCRHead", ocr_channels=4)
    return dict(config, type="CascadeEncoderDecoder", num_stages=2, decode_head=[first, last])


@pytest.mark.parametrize(
    ("change", "weighted"),
    [(wrapped_in_hrda, "source."), (as_cascade, "source.decode_1.")],
)
def test_the_losses_of_the_head_that_predicts_are_weighted(monkeypatch, change, weighted):
    monkeypatch.setattr(
        functional, "mode_weights", lambda source, _, limit: torch.full_like(source, 3.0)
    )
    model = adaptor(segmentor=change(plain_config()))
    model.progress.round = 1
    values, _ = values_of(model, "source", "source", "target", "target")
    plain = sum(
        float(v.detach()) for n, v in values.items() if n.startswith(weighted) and "loss" in n
    )
    # No pixel of the source is ignored.
    assert float(values["weights.loss_mode_weights"].detach()) == pytest.approx(2 * plain, rel=1e-5)
