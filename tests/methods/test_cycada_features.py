"""CyCADA's feature adaptation against a plain computation, and the gate that opens it."""

import copy
from collections import deque

import pytest
import torch
import torch.nn.functional as F
from mmengine.optim import OptimWrapper
from tiny_adaptor import CLASSES, SIZE, TERMS, batch, build, losses_of

from mmdrsl.methods.cycada_features import DomainAccuracyGate, FeatureAdaptationTerm
from mmdrsl.models.adaptation_step import AdaptationProgress

LEARNING_RATE = 0.05
WEIGHT = 0.7


def adaptor(**options):
    discriminator = dict(
        type="DomainDiscriminator", in_channels=CLASSES, hidden_channels=(6, 5), kernel_size=3,
        stride=1,
    )  # fmt: skip
    term = dict(type="FeatureAdaptationTerm", weight=WEIGHT, **options)
    model = build(
        terms=dict(source=TERMS["source"], target=TERMS["target"], adaptation=term),
        discriminators=dict(scores=discriminator),
    )
    model.progress = AdaptationProgress(round=1, adaptation_iteration=3)
    # As `AfterStepHook` says it.
    model.calls_after_step = True
    return model


def fill(model, *accuracies):
    for value in accuracies:
        model.terms["adaptation"].gate.update(value)


def logistic(scores):
    return (1 + (-scores).exp()).log().mean()


def plain_gradients(model, data, is_open):
    """Losses and gradients by separate backward passes, one for each part of the model."""
    order = [1, 3, 0, 2]
    images = torch.stack([data["inputs"][i] for i in order])
    labels = torch.cat([data["data_samples"][i].gt_sem_seg.data for i in order])
    features = model.segmentor.backbone((images.float() - 100) / 50)
    head = model.segmentor.decode_head
    scores = head.conv_seg(head.convs(features[-1]))
    logits = F.interpolate(scores, size=(SIZE, SIZE), mode="bilinear", align_corners=False)
    weights = list(model.discriminators["scores"].parameters())

    def judge(x):
        for index in range(3):
            x = F.conv2d(x, weights[2 * index], weights[2 * index + 1], padding=1)
            if index < 2:
                x = torch.where(x > 0, x, 0.2 * x)
        return x

    segmentation = F.cross_entropy(logits[:2], labels[:2], ignore_index=255) + (
        0.8 * F.cross_entropy(logits[2:], labels[2:], ignore_index=255)
    )
    told = (logistic(judge(scores[:2])) + logistic(-judge(scores[2:]))) / 2
    fooled = logistic(judge(scores[2:]))
    segmentor = list(model.segmentor.parameters())
    objective = segmentation + (WEIGHT * fooled if is_open else 0)
    gradients = torch.autograd.grad(objective, segmentor, retain_graph=True)
    judged = torch.autograd.grad(told, weights)
    right = ((judge(scores[:2]) > 0).float().mean() + (judge(scores[2:]) <= 0).float().mean()) / 2
    return [*zip(segmentor, gradients, strict=True), *zip(weights, judged, strict=True)], dict(
        told=told, fooled=WEIGHT * fooled * is_open, right=right
    )


@pytest.mark.parametrize("is_open", [True, False], ids=["open", "closed"])
def test_one_step_replayed(is_open):
    model = adaptor(gate=dict(window=3))
    fill(model, *([0.5, 0.9, 0.9, 0.5] if is_open else [0.9, 0.5, 0.6, 0.5]))
    plain = copy.deepcopy(model)
    data = batch("target", "source", "target", "source")
    expected, values = plain_gradients(plain, data, is_open)
    wanted = {id(parameter): parameter - LEARNING_RATE * g for parameter, g in expected}
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)
    log = model.train_step(data, OptimWrapper(optimizer))
    for name, value in (("discriminator", "told"), ("adversarial", "fooled")):
        found = log[f"adaptation.loss_{name}"].item()
        assert found == pytest.approx(values[value].item(), rel=1e-4)
    assert float(log["adaptation.domain_accuracy"]) == pytest.approx(float(values["right"]))
    assert float(log["adaptation.gate_open"]) == is_open
    compared = 0
    for parameter_name, before in plain.named_parameters():
        if id(before) in wanted:
            torch.testing.assert_close(
                model.get_parameter(parameter_name),
                wanted[id(before)],
                rtol=1e-3,
                atol=2e-6,
                msg=parameter_name,
            )
            compared += 1
    assert compared == len(expected)
    assert all(torch.equal(p, plain.get_parameter(n)) for n, p in model.named_parameters()
               if n.startswith("heads."))  # fmt: skip


def test_gate_is_a_rolling_mean():
    gate = DomainAccuracyGate(threshold=0.6, window=4)
    assert (gate.accuracy, gate.is_open) == (0.0, False)
    values = torch.rand(11, generator=torch.Generator().manual_seed(0)).tolist()
    last = deque(maxlen=4)
    decisions = set()
    for value in values:
        gate.update(value)
        last.append(value)
        mean = sum(last) / len(last)
        assert gate.accuracy == pytest.approx(mean)
        assert gate.is_open == (mean > 0.6)
        decisions.add(gate.is_open)
    assert decisions == {True, False}
    for wrong in (dict(threshold=1.0), dict(threshold=-0.1), dict(window=0)):
        with pytest.raises(ValueError, match="threshold must be in"):
            DomainAccuracyGate(**wrong)


def test_checkpoint_holds_the_gate():
    model = adaptor(gate=dict(window=3))
    fill(model, 0.9, 0.1, 0.8, 0.7)
    other = adaptor(gate=dict(window=3))
    other.load_state_dict(model.state_dict(), strict=True)
    for each in (model, other):
        each.terms["adaptation"].gate.update(0.4)
    found, wanted = (each.terms["adaptation"].gate for each in (other, model))
    assert torch.equal(found.accuracies, wanted.accuracies)
    assert found.accuracy == pytest.approx((0.8 + 0.7 + 0.4) / 3)


def test_losses_change_no_state():
    model = adaptor(gate=dict(window=3))
    fill(model, 0.9)
    before = copy.deepcopy(model.terms.state_dict())
    assert before
    losses_of(model, "source", "source", "target", "target")
    assert all(torch.equal(value, before[n]) for n, value in model.terms.state_dict().items())


def test_only_a_gate_needs_the_hook():
    for gate, refused in ((dict(), True), (None, False)):
        model = adaptor(gate=gate)
        model.calls_after_step = False
        assert model.terms["adaptation"].has_state is refused
        if refused:
            with pytest.raises(ValueError, match=r"\['adaptation'\].*AfterStepHook"):
                losses_of(model, "source", "target")
        else:
            assert losses_of(model, "source", "target")["adaptation.gate_open"] == 1


def test_the_gate_follows_the_accuracy_of_steps():
    term = FeatureAdaptationTerm(gate=dict(window=2))
    for accuracy in (0.9, 0.3):
        logged = term.after_step(dict(domain_accuracy=torch.tensor(accuracy)))
    assert logged == dict(rolling_accuracy=pytest.approx(0.6))
    # A batch of one domain has no value.
    assert term.after_step({}) == {}
    assert int(term.gate.count) == 2


def test_closed_gate_keeps_the_graph():
    model = adaptor(gate=dict())
    value = losses_of(model, "source", "source", "target", "target")["adaptation.loss_adversarial"]
    assert value == 0
    assert value.requires_grad
    value.backward()
    assert all(
        (p.grad == 0).all() for p in model.segmentor.decode_head.parameters() if p.grad is not None
    )


def test_a_negative_weight_is_refused():
    with pytest.raises(ValueError, match="weight must be >= 0, found -1"):
        FeatureAdaptationTerm(weight=-1.0)
