"""Mode learning and alignment on the mixed images of ClassMix, against loops over pixels."""

import pytest
import torch
from mmseg.registry import MODELS
from tiny_adaptor import BANDWIDTH, CLASSES, MARGIN, TERMS, batch, build

from mmdrsl.methods.adaptation_term import AdaptationTerm
from mmdrsl.models.teacher_prediction import TeacherPrediction

THRESHOLD = 0.35
DOMAINS = ("source", "source", "target", "target")
MIX = dict(type="ClassMixTerm", pseudo_threshold=THRESHOLD, jitter=0)
METRIC = dict(TERMS["metric"], domain="mixed")
ALIGNMENT = dict(TERMS["alignment"], target="mixed", weight=0.5, ramp_iterations=0)


@MODELS.register_module(force=True)
class KeepStep(AdaptationTerm):
    """Keeps what the terms before it saw."""

    needs_teacher = True
    needs_mixed_images = True

    def __init__(self):
        super().__init__(domains=("source", "target"))

    def forward(self, step):
        self.step = step
        return {"seen": torch.zeros(())}


def adaptor(*, mix=MIX, **terms):
    source = dict(type="SegmentationTerm", domain="source")
    mixing = {} if mix is None else dict(mix=mix)
    model = build(
        terms=dict(source=source, **mixing, **terms, keep=dict(type="KeepStep")),
        bn_mode="separate",
    )
    model.add_teacher(dict(type="ExponentialMovingAverage", momentum=0.5))
    model.teacher.update_parameters(model.networks())
    model.teacher_prediction = TeacherPrediction(statistics="batch")
    model.progress.round, model.progress.adaptation_iteration = 1, 5
    return model.train()


def values_of(model):
    data = model.data_preprocessor(batch(*DOMAINS), True)
    values = model.loss(data["inputs"], data["data_samples"])
    return values, model.terms["keep"].step


def small(labels, size):
    """The pixel in the middle of every cell."""
    factor = labels.shape[1] // size[0]
    return labels[:, factor // 2 :: factor, factor // 2 :: factor]


def squared_distance(first, second):
    return float((first - second).square().sum())


def test_labels_of_mixed_images_by_a_loop():
    model = adaptor()
    _, step = values_of(model)
    view = step.mixed_view()
    labels, probabilities = step.domains["source"].labels, step.teacher_probabilities()
    counts = dict.fromkeys(("source", "sure", "unsure"), 0)
    for b, y, x in torch.cartesian_prod(*(torch.arange(n) for n in labels.shape)).tolist():
        found = int(view.labels[b, y, x])
        best = probabilities[b, :, y, x].max()
        if view.of_source[b, y, x]:
            kind, expected = "source", int(labels[b, y, x])
        elif best > THRESHOLD:
            kind, expected = "sure", int(probabilities[b, :, y, x].argmax())
        else:
            kind, expected = "unsure", 255
        counts[kind] += 1
        assert found == expected
    assert min(counts.values()) > 50


def test_metric_by_a_loop():
    model = adaptor(metric_mixed=METRIC)
    values, step = values_of(model)
    head = model.heads["mmdl"]
    embeddings, modes = step.mixed_head_output("mmdl").detach(), head.modes().detach()
    labels = small(step.mixed_view().labels, embeddings.shape[2:])
    per_class = {c: [] for c in range(CLASSES)}
    for b, y, x in torch.cartesian_prod(*(torch.arange(n) for n in labels.shape)).tolist():
        label = int(labels[b, y, x])
        if label == 255:
            continue
        pixel = embeddings[b, :, y, x]
        distances = torch.tensor([[squared_distance(pixel, m) for m in own] for own in modes])
        nearest = distances.amin(1)
        others = min(float(nearest[c]) for c in range(CLASSES) if c != label)
        margin = max(0.0, float(nearest[label]) - others + MARGIN)
        scores = torch.logsumexp(-distances / (2 * BANDWIDTH**2), 1).log_softmax(0)
        per_class[label].append(margin - 0.5 * float(scores[label]))
    means = [sum(each) / len(each) for each in per_class.values() if each]
    expected = METRIC["weight"] * sum(means) / len(means)
    assert float(values["metric_mixed.loss_mixed"].detach()) == pytest.approx(expected, rel=1e-5)


def test_alignment_pairs_source_pixels_with_target_pixels_of_mixed_images():
    model = adaptor(alignment=ALIGNMENT)
    values, step = values_of(model)
    assert float(values["alignment.loss_alignment"].detach()) > 0
    head, view, term = model.heads["mmdl"], step.mixed_view(), model.terms["alignment"]
    source, mixed = step.head_output("mmdl", "source"), step.mixed_head_output("mmdl")
    labels = small(step.domains["source"].labels, source.shape[2:])
    # What was pasted is the source's own.
    of_target = small(torch.where(view.of_source, 255, view.labels), mixed.shape[2:])
    torch.manual_seed(3)
    expected = term.loss(source, labels, mixed, of_target, head.modes(), BANDWIDTH)
    torch.manual_seed(3)
    found = term(step)["loss_alignment"]
    torch.testing.assert_close(found, ALIGNMENT["weight"] * expected)
    torch.manual_seed(3)
    pasted = term.loss(
        source, labels, mixed, small(view.labels, mixed.shape[2:]), head.modes(), BANDWIDTH
    )
    assert abs(float(pasted.detach() - expected.detach())) > 1e-3


def test_gradients_reach_the_backbone_and_not_the_teacher():
    model = adaptor(metric_mixed=METRIC)
    values, _ = values_of(model)
    values["metric_mixed.loss_mixed"].backward()
    assert model.segmentor.backbone.conv1.weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in model.teacher.parameters())


def test_the_order_of_terms_in_a_config_does_not_matter():
    """MMEngine writes the entries of a config by name, and a run may continue from the written file."""
    terms = dict(
        mix=MIX,
        metric_mixed=METRIC,
        alignment=ALIGNMENT,
        source=dict(type="SegmentationTerm", domain="source"),
        keep=dict(type="KeepStep"),
    )
    found = []
    for names in (list(terms), sorted(terms), sorted(terms, reverse=True)):
        model = build(terms={name: terms[name] for name in names}, bn_mode="separate")
        model.add_teacher(dict(type="ExponentialMovingAverage", momentum=0.5))
        model.teacher.update_parameters(model.networks())
        torch.manual_seed(5)
        values, _ = values_of(model.train())
        found.append({name: float(value.detach()) for name, value in values.items()})
    assert "metric_mixed.loss_mixed" in found[0]
    assert found[1] == pytest.approx(found[0], rel=1e-5)
    assert found[2] == pytest.approx(found[0], rel=1e-5)


@MODELS.register_module(force=True)
class ReadsInSilence(AdaptationTerm):
    def __init__(self):
        super().__init__(domains=("source", "target"))

    def forward(self, step):
        return {"seen": step.mixed_view().labels.float().mean()}


def test_a_missing_declaration_shows():
    with pytest.raises(ValueError, match="must also declare needs_mixed_images = True"):
        values_of(adaptor(mine=dict(type="ReadsInSilence")))


@pytest.mark.parametrize("terms", [dict(metric=METRIC), dict(alignment=ALIGNMENT)])
def test_without_mixed_images(terms):
    with pytest.raises(ValueError, match="and there are none: add a ClassMixTerm to"):
        values_of(adaptor(mix=None, **terms))


def test_another_target_is_refused():
    with pytest.raises(ValueError, match="target must be 'labels' or 'mixed', found 'masked'"):
        adaptor(alignment=dict(ALIGNMENT, target="masked"))
