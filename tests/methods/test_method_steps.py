"""One step of every method, replayed in plain PyTorch with the backward passes and optimizers of the released codes."""

import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmseg.registry import MODELS
from tiny_adaptor import CLASSES, PREPROCESSOR, SIZE, batch, plain_config

from mmdrsl.models.adaptation_step import AdaptationProgress

METHODS = Path(__file__).parents[2] / "configs" / "_base_" / "methods"
LEARNING_RATE, DISCRIMINATOR_RATE = 0.05, 0.002
BETAS = (0.9, 0.99)


def method(name, **changes):
    """The method of a config, with changed terms, on small heads and discriminators."""
    cfg = Config.fromfile(METHODS / f"{name}.py").method
    for term, change in changes.items():
        cfg.terms[term].update(change)
    for head in cfg.get("heads", {}).values():
        head.update(channels=8, dropout_ratio=0.0)
    for discriminator in cfg.get("discriminators", {}).values():
        discriminator.update(hidden_channels=(4, 8))
    # The replay runs both domains together; `test_uda_segmentor` has the other ways to normalize.
    return dict(cfg, bn_mode="joint", heads_shape_warmup=True)


# Weights of the releases are too small to be seen in an updated weight.
CASES = {
    "adaptsegnet": method("adaptsegnet", adversarial=dict(weight=0.5)),
    "adaptsegnet_least_squares": method(
        "adaptsegnet", adversarial=dict(weight=0.5, kind="least_squares")
    ),
    "adaptsegnet_multi": method(
        "adaptsegnet_multi", adversarial=dict(weight=0.5), adversarial_auxiliary=dict(weight=0.3)
    ),
    "advent": method(
        "advent", adversarial=dict(weight=0.5), adversarial_auxiliary=dict(weight=0.3)
    ),
    "minent": method("minent", entropy=dict(weight=0.5), entropy_auxiliary=dict(weight=0.3)),
    "seg_uncertainty": method("seg_uncertainty", target=dict(auxiliary_weight=0.3)),
    "self_training": method("self_training"),
    "mrkld": method("mrkld"),
}
every_case = pytest.mark.parametrize("case", CASES)


def mostly_slow(*fast):
    """Every case, most of them in the full tier alone."""
    marked = [pytest.param(case, marks=() if case in fast else pytest.mark.slow) for case in CASES]
    return pytest.mark.parametrize("case", marked)


def build(options):
    # With seed 0 a ReLU's input lies so near zero that rounding decides about its gradient.
    torch.manual_seed(1)
    return MODELS.build(
        dict(
            type="UDASegmentor",
            data_preprocessor=PREPROCESSOR,
            segmentor=plain_config(),
            **copy.deepcopy(options),
        )
    ).train()


def information(p):
    return -p * torch.log2(p + 1e-30) / torch.log2(torch.tensor(float(CLASSES)))


def judge(scores, label, kind):
    wanted = torch.full_like(scores, label)
    return (
        F.binary_cross_entropy_with_logits(scores, wanted)
        if kind == "cross_entropy"
        else F.mse_loss(scores, wanted)
    )


def replay(model, terms, data):
    """Losses by their names; gradients are in the model's parameters afterwards."""
    images = (torch.stack(data["inputs"]).float() - 100) / 50
    labels = torch.cat([sample.gt_sem_seg.data for sample in data["data_samples"]])
    features = model.segmentor.backbone(images)
    outputs = {}
    for name, head, index in [("main", model.segmentor.decode_head, 3)] + [
        (name, head, 2) for name, head in model.heads.items()
    ]:
        logits = head.conv_seg(head.convs(features[index]))
        outputs[name] = F.interpolate(logits, (SIZE, SIZE), mode="bilinear", align_corners=False)
    source = {name: logits[:2] for name, logits in outputs.items()}
    target = {name: logits[2:] for name, logits in outputs.items()}
    losses, opponents = {}, {}
    losses["source.loss_ce"] = F.cross_entropy(source["main"], labels[:2])
    if "source_auxiliary" in terms:
        losses["source_auxiliary.loss_ce"] = terms["source_auxiliary"]["weight"] * F.cross_entropy(
            source["auxiliary"], labels[:2]
        )
    valid = labels[2:] != 255
    for name, term in terms.items():
        output = term.get("head") or "main"
        if name.startswith("adversarial"):
            maps = [each[output].softmax(1) for each in (source, target)]
            if term["type"] == "EntropyAdversarialTerm":
                maps = [information(p) for p in maps]
            kind = term.get("kind", "cross_entropy")
            discriminator = model.discriminators[term["discriminator"]]
            opponents[name] = (discriminator, maps, kind)
            for parameter in discriminator.parameters():
                parameter.requires_grad = False
            losses[f"{name}.loss_adversarial"] = term["weight"] * judge(
                discriminator(maps[1]), 1.0, kind
            )
        elif name.startswith("entropy"):
            value = information(target[output].softmax(1)).sum(1).mean()
            losses[f"{name}.loss_entropy"] = term["weight"] * value
        elif term["type"] == "RectifiedCrossEntropyTerm":
            for key, own, other, weight in (
                ("main", "main", "auxiliary", 1.0), ("auxiliary", "auxiliary", "main", 0.3)
            ):  # fmt: skip
                variance = F.kl_div(
                    target[own].log_softmax(1), target[other].softmax(1), reduction="none"
                ).sum(1)[valid]
                crossed = F.cross_entropy(
                    target[own], labels[2:], ignore_index=255, reduction="none"
                )[valid]
                losses[f"{name}.loss_{key}"] = weight * (
                    (crossed * torch.exp(-variance)).mean() + variance.mean()
                )
        elif name == "target":
            losses["target.loss_ce"] = F.cross_entropy(target["main"], labels[2:], ignore_index=255)
        elif name == "regularization":
            losses["regularization.loss_mrkld"] = (
                -0.1 * target["main"].log_softmax(1).mean(1)[valid].mean()
            )
    # First the segmentor against frozen discriminators, then these, one domain after the other.
    sum(losses.values()).backward()
    for name, (discriminator, maps, kind) in opponents.items():
        for parameter in discriminator.parameters():
            parameter.requires_grad = True
        parts = [
            judge(discriminator(each.detach()), label, kind) / 2
            for each, label in zip(maps, (1.0, 0.0), strict=True)
        ]
        for part in parts:
            part.backward()
        losses[f"{name}.loss_discriminator"] = sum(parts)
    return losses


@every_case
def test_step_replayed(case):
    terms = CASES[case]["terms"]
    model = build(CASES[case])
    model.progress = AdaptationProgress(round=1, adaptation_iteration=3)
    plain = copy.deepcopy(model)
    data = batch("source", "source", "target", "target")
    keys = dict(discriminators=dict(lr_mult=DISCRIMINATOR_RATE / LEARNING_RATE, betas=BETAS))
    wrapper = build_optim_wrapper(
        model,
        dict(
            optimizer=dict(type="SGDWithAdam", lr=LEARNING_RATE, momentum=0.9, weight_decay=0.0),
            paramwise_cfg=dict(custom_keys=keys),
        ),
    )
    sgd = torch.optim.SGD(
        [*plain.segmentor.parameters(), *plain.heads.parameters()], lr=LEARNING_RATE, momentum=0.9
    )
    judges = list(plain.discriminators.parameters())
    adam = torch.optim.Adam(judges, lr=DISCRIMINATOR_RATE, betas=BETAS) if judges else None

    for _ in range(2):
        expected = replay(plain, terms, data)
        log = model.train_step(copy.deepcopy(data), wrapper)
        optimized = {name for name in log if "loss" in name and name != "loss"}
        assert optimized == set(expected)
        for name, value in expected.items():
            assert log[name].item() == pytest.approx(value.item(), rel=1e-4), name
        assert log["loss"].item() == pytest.approx(
            sum(v.item() for v in expected.values()), rel=1e-4
        )
        for parameter in plain.parameters():
            assert (parameter.grad != 0).any()
        for optimizer in (sgd, adam):
            if optimizer is not None:
                optimizer.step()
                optimizer.zero_grad()
    start = build(CASES[case]).state_dict()
    for name, value in plain.named_parameters():
        found = model.get_parameter(name)
        assert not torch.equal(found, start[name]), name
        torch.testing.assert_close(found, value, rtol=1e-3, atol=2e-5, msg=name)


@pytest.mark.parametrize("case", ["adaptsegnet_least_squares", "advent"])
def test_each_loss_reaches_its_own_side(case):
    model = build(CASES[case])
    model.progress = AdaptationProgress(round=1)
    data = model.data_preprocessor(batch("source", "source", "target", "target"), True)
    values = model.loss(**data)
    accuracies = [v for n, v in values.items() if n.endswith("domain_accuracy")]
    assert accuracies
    assert all(0 <= value <= 1 and not value.requires_grad for value in accuracies)
    for key, reached in (("adversarial", "segmentor"), ("discriminator", "discriminators")):
        model.zero_grad()
        total = sum(v for n, v in values.items() if n.endswith(f"loss_{key}"))
        total.backward(retain_graph=True)
        touched = {n.split(".")[0] for n, p in model.named_parameters() if p.grad is not None}
        assert reached in touched
        assert ("discriminators" in touched) is (key == "discriminator")
        assert ("segmentor" in touched) is (key == "adversarial")


@mostly_slow("adaptsegnet_multi")
def test_a_batch_of_the_warm_up_has_the_source_alone(case):
    model = build(CASES[case])
    data = model.data_preprocessor(batch("source", "source"), True)
    values = model.loss(**data)
    assert {name.split(".")[0] for name in values} <= {"source", "source_auxiliary"}
    sum(v for n, v in values.items() if "loss" in n).backward()
    assert all(p.grad is None for p in model.discriminators.parameters())


@mostly_slow("seg_uncertainty", "mrkld", "advent")
def test_a_target_without_labels_is_finite(case):
    model = build(CASES[case])
    model.progress = AdaptationProgress(round=1)
    data = batch("source", "source", "target", "target")
    for sample in data["data_samples"][2:]:
        sample.gt_sem_seg.data[:] = 255
    values = model.loss(**model.data_preprocessor(data, True))
    total, _ = model.parse_losses(values)
    total.backward()
    assert torch.isfinite(total)
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
    for name, value in values.items():
        # Adversarial and entropy losses need no label of the target.
        if "loss" in name and name.split(".")[0] not in ("target", "regularization"):
            assert value > 0, name
        elif "loss" in name:
            assert value == 0, name


@pytest.mark.parametrize(
    "case", ["seg_uncertainty", pytest.param("adaptsegnet_multi", marks=pytest.mark.slow)]
)
def test_the_auxiliary_classifier_learns_beside_the_warm_up(case):
    def warm_up(options):
        model = build(dict(options, heads_shape_warmup=False))
        wrapper = build_optim_wrapper(model, dict(optimizer=dict(type="SGD", lr=0.05)))
        for step in range(2):
            model.train_step(batch("source", "source", seed=step), wrapper)
        return model

    beside = warm_up(CASES[case])
    plain = warm_up(dict(terms=dict(source=CASES[case]["terms"]["source"])))
    for name, value in plain.segmentor.state_dict().items():
        assert torch.equal(value, beside.segmentor.state_dict()[name]), name
    first = build(CASES[case]).heads["auxiliary"].conv_seg.weight
    assert not torch.equal(first, beside.heads["auxiliary"].conv_seg.weight)


@mostly_slow("advent", "seg_uncertainty")
def test_half_precision_is_finite(case):
    model = build(CASES[case])
    model.progress = AdaptationProgress(round=1)
    data = model.data_preprocessor(batch("source", "source", "target", "target"), True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        total, _ = model.parse_losses(model.loss(**data))
    exact, _ = model.parse_losses(build(CASES[case]).loss(**data))
    total.backward()
    assert total.item() == pytest.approx(exact.item(), rel=0.05)
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_missing_parts_are_named():
    for case, parts, part, name in (
        ("adaptsegnet", "discriminators", "discriminator", "output"),
        ("minent", "heads", "head", "auxiliary"),
    ):
        model = build(CASES[case])
        del getattr(model, parts)[name]
        data = model.data_preprocessor(batch("source", "target"), True)
        with pytest.raises(ValueError, match=rf"{part} '{name}', but the adaptor has \[\]"):
            model.loss(**data)


@pytest.mark.parametrize("term", ["AdversarialTerm", "EntropyAdversarialTerm"])
def test_an_unknown_loss_is_refused(term):
    with pytest.raises(ValueError, match=r"kind must be one of .* found 'wasserstein'"):
        MODELS.build(dict(type=term, kind="wasserstein"))


def test_a_head_that_is_no_classifier_is_refused():
    options = dict(
        terms=dict(entropy=CASES["minent"]["terms"]["entropy_auxiliary"]),
        heads=dict(auxiliary=dict(type="MMDLHead", embedding_dim=8)),
    )
    model = build(options)
    data = model.data_preprocessor(batch("source", "target"), True)
    with pytest.raises(ValueError, match="gives 8 channels, the segmentor 3"):
        model.loss(**data)
