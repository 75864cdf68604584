"""Which classifier and which losses `SegmentationTerm` trains."""

import pytest
import torch
import torch.nn.functional as F
from tiny_adaptor import SIZE, TERMS, batch, build, losses_of, plain_config


def test_weight_scales_losses_of_all_heads_but_no_diagnostics():
    config = plain_config(auxiliary=True)
    once = losses_of(build(terms=dict(s=TERMS["source"]), segmentor=config), "source", "source")
    thrice = dict(s=dict(TERMS["source"], weight=3.0))
    tripled = losses_of(build(terms=thrice, segmentor=config), "source", "source")
    assert {name: (tripled[name] / value).item() for name, value in once.items() if value} == (
        pytest.approx({n: 3 if "loss" in n else 1 for n, value in once.items() if value})
    )
    assert sum("loss" in name for name in once) == 2


def test_a_loss_of_its_own_replaces_those_of_the_heads():
    """Source labels weighted by class, pseudo labels not, as the configs have it."""
    weights = [0.5, 2.0, 1.0]
    own = dict(type="CrossEntropyLoss", avg_non_ignore=True)
    model = build(
        terms=dict(
            source=TERMS["source"], target=dict(TERMS["target"], weight=1.0, loss=[own, own])
        ),
        segmentor=dict(plain_config(), decode_head=dict(
            plain_config()["decode_head"], loss_decode=dict(type="CrossEntropyLoss"))),
        class_weight=weights,
    )  # fmt: skip
    data = model.data_preprocessor(batch("source", "target"), True)
    values = model.loss(**data)
    labels = torch.cat([each.gt_sem_seg.data for each in data["data_samples"]])
    logits = model.segmentor.decode_head(model.extract_feat(data["inputs"]))
    logits = F.interpolate(logits, (SIZE, SIZE), mode="bilinear")
    weighted = F.cross_entropy(logits[:1], labels[:1], torch.tensor(weights))
    plain = F.cross_entropy(logits[1:], labels[1:], ignore_index=255)
    torch.testing.assert_close(values["source.loss_ce"], weighted)
    # Losses of one name add up.
    torch.testing.assert_close(values["target.loss_ce"], 2 * plain)


def test_a_further_classifier_learns_instead_of_the_segmentors():
    head = dict(plain_config()["decode_head"], in_channels=16, in_index=2)
    terms = dict(source=dict(TERMS["source"], head="auxiliary", weight=0.5))
    model = build(terms=terms)
    model.heads["auxiliary"] = build(segmentor=dict(plain_config(), decode_head=head)).decode_head
    data = model.data_preprocessor(batch("source", "source"), True)
    value = model.loss(**data)["source.loss_ce"]
    labels = torch.cat([each.gt_sem_seg.data for each in data["data_samples"]])
    logits = model.heads["auxiliary"](model.extract_feat(data["inputs"]))
    logits = F.interpolate(logits, (SIZE, SIZE), mode="bilinear")
    torch.testing.assert_close(value, 0.5 * F.cross_entropy(logits, labels))
    value.backward()
    touched = {name.rsplit(".", 2)[0] for name, p in model.named_parameters() if p.grad is not None}
    assert "heads.auxiliary" in touched
    assert not any(name.startswith(("segmentor.decode_head", "heads.mmdl")) for name in touched)
