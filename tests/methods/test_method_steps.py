"""One step of every method, replayed in plain PyTorch with the backward passes and optimizers of the released codes."""

import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmseg.registry import MODELS
from test_uda_segmentor import CLASSES, SIZE, batch, plain_config

from mmdrsl.models.adaptation_step import AdaptationProgress

METHODS = Path(__file__).parents[2] / "configs" / "_base_" / "methods"
LEARNING_RATE, DISCRIMINATOR_RATE = 0.05, 0.002
BETAS = (0.9, 0.99)
LEVELS = {"adversarial": ("output", None), "adversarial_auxiliary": ("auxiliary", "auxiliary")}


def terms_of(method, **changes):
    cfg = Config.fromfile(METHODS / f"{method}.py")
    terms = {name: dict(term) for name, term in cfg[f"{method}_terms"].items()}
    terms.setdefault("source", dict(type="SegmentationTerm", domain="source"))
    for name, change in changes.items():
        terms[name].update(change)
    return terms


CASES = {
    "adaptsegnet": terms_of("adaptsegnet", adversarial=dict(weight=0.5)),
    "adaptsegnet_least_squares": terms_of(
        "adaptsegnet", adversarial=dict(weight=0.5, kind="least_squares")
    ),
    # Weights of the release are too small to be seen in an updated weight.
    "adaptsegnet_multi": terms_of(
        "adaptsegnet_multi", adversarial=dict(weight=0.5), adversarial_auxiliary=dict(weight=0.3)
    ),
    "advent": terms_of(
        "advent", adversarial=dict(weight=0.5), adversarial_auxiliary=dict(weight=0.3)
    ),
    "minent": terms_of("minent", entropy=dict(weight=0.5), entropy_auxiliary=dict(weight=0.3)),
    "seg_uncertainty": terms_of("seg_uncertainty", target=dict(auxiliary_weight=0.3)),
    "self_training": terms_of("self_training"),
}


def build(terms):
    torch.manual_seed(0)
    text = str(terms)
    options = {}
    if "auxiliary" in text:
        head = dict(plain_config()["decode_head"], in_channels=16, in_index=2)
        options["heads"] = dict(auxiliary=head)
    if "AdversarialTerm" in text:
        small = dict(type="DomainDiscriminator", in_channels=CLASSES, hidden_channels=(4, 8))
        names = {term["discriminator"] for term in terms.values() if "discriminator" in term}
        options["discriminators"] = dict.fromkeys(sorted(names), small)
    return MODELS.build(
        dict(
            type="UDASegmentor",
            data_preprocessor=dict(
                type="UDADataPreprocessor", mean=[100.0] * 3, std=[50.0] * 3, size=(SIZE, SIZE)
            ),
            segmentor=plain_config(),
            terms=terms,
            **options,
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
            if term.get("maps") == "self_information":
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


@pytest.mark.parametrize("case", CASES)
def test_step_replayed(case):
    terms = CASES[case]
    model = build(terms)
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
    start = build(terms).state_dict()
    for name, value in plain.named_parameters():
        found = model.get_parameter(name)
        assert not torch.equal(found, start[name]), name
        torch.testing.assert_close(found, value, rtol=1e-3, atol=2e-5, msg=name)


@pytest.mark.parametrize("case", ["adaptsegnet", "adaptsegnet_multi", "advent"])
def test_each_loss_reaches_its_own_side(case):
    model = build(CASES[case])
    model.progress = AdaptationProgress(round=1)
    data = model.data_preprocessor(batch("source", "source", "target", "target"), True)
    values = model.loss(data["inputs"], data["data_samples"])
    accuracies = [v for n, v in values.items() if n.endswith("discriminator_accuracy")]
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


@pytest.mark.parametrize("case", CASES)
def test_a_batch_of_the_warm_up_has_the_source_alone(case):
    model = build(CASES[case])
    data = model.data_preprocessor(batch("source", "source"), True)
    values = model.loss(data["inputs"], data["data_samples"])
    assert {name.split(".")[0] for name in values} <= {"source", "source_auxiliary"}
    sum(v for n, v in values.items() if "loss" in n).backward()
    assert all(p.grad is None for p in model.discriminators.parameters())


@pytest.mark.parametrize("case", CASES)
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
    for name in ("target.loss_main", "target.loss_auxiliary", "target.loss_ce"):
        assert values.get(name, 0) == 0
    if "adversarial" in CASES[case] or "entropy" in CASES[case]:
        # They need no label of the target.
        assert all(v > 0 for n, v in values.items() if "loss" in n)


@pytest.mark.parametrize("case", ["adaptsegnet_multi", "seg_uncertainty"])
def test_the_auxiliary_classifier_learns_beside_the_warm_up(case):
    def warm_up(terms, **options):
        torch.manual_seed(0)
        model = build(terms)
        model.heads_shape_warmup = False
        wrapper = build_optim_wrapper(model, dict(optimizer=dict(type="SGD", lr=0.05)))
        for step in range(3):
            model.train_step(batch("source", "source", seed=step), wrapper)
        return model

    beside = warm_up(CASES[case])
    plain = warm_up(dict(source=CASES[case]["source"]))
    for name, value in plain.segmentor.state_dict().items():
        assert torch.equal(value, beside.segmentor.state_dict()[name]), name
    first = build(CASES[case]).heads["auxiliary"].conv_seg.weight
    assert not torch.equal(first, beside.heads["auxiliary"].conv_seg.weight)


@pytest.mark.parametrize("case", CASES)
def test_half_precision_is_finite(case):
    model = build(CASES[case])
    model.progress = AdaptationProgress(round=1)
    data = model.data_preprocessor(batch("source", "source", "target", "target"), True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        total, _ = model.parse_losses(model.loss(data["inputs"], data["data_samples"]))
    exact, _ = build(CASES[case]).parse_losses(
        build(CASES[case]).loss(data["inputs"], data["data_samples"])
    )
    total.backward()
    assert total.item() == pytest.approx(exact.item(), rel=0.05)
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_missing_parts_are_named():
    terms = CASES["adaptsegnet"]
    data = build(terms).data_preprocessor(batch("source", "target"), True)
    lacking = build(terms)
    del lacking.discriminators["output"]
    with pytest.raises(ValueError, match=r"discriminator 'output', but the adaptor has \[\]"):
        lacking.loss(data["inputs"], data["data_samples"])
    terms = CASES["minent"]
    lacking = build(terms)
    del lacking.heads["auxiliary"]
    with pytest.raises(ValueError, match=r"'auxiliary', but the adaptor has \[\]"):
        lacking.loss(data["inputs"], data["data_samples"])
    for options in (dict(maps="logits"), dict(kind="wasserstein")):
        with pytest.raises(ValueError, match="maps must be one of"):
            MODELS.build(dict(type="AdversarialTerm", **options))


def test_a_head_that_is_no_classifier_is_refused():
    model = build(CASES["minent"])
    model.heads["auxiliary"] = MODELS.build(
        dict(type="MMDLHead", in_channels=32, num_classes=CLASSES, embedding_dim=8)
    )
    model.terms = torch.nn.ModuleDict(dict(entropy=model.terms["entropy_auxiliary"]))
    data = model.data_preprocessor(batch("source", "target"), True)
    with pytest.raises(ValueError, match="gives 8 channels, the segmentor 3"):
        model.loss(data["inputs"], data["data_samples"])
