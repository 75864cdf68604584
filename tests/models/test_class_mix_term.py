import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from test_uda_segmentor import CLASSES, SIZE, batch, plain_config

from mmdrsl.models.class_mix import choose_classes, colour_jitter, paste

IGNORED = 255
EMA = dict(type="ExponentialMovingAverage", momentum=0.5)


def build(**options):
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type="UDASegmentor",
            data_preprocessor=dict(
                type="UDADataPreprocessor", mean=[100.0] * 3, std=[50.0] * 3, size=(SIZE, SIZE)
            ),
            segmentor=plain_config(),
            terms=dict(
                source=dict(type="SegmentationTerm", domain="source"),
                mix=dict(type="ClassMixTerm", **options),
            ),
        )
    )
    model.add_teacher(EMA)
    return model.train()


def losses_of(model, *domains):
    data = model.data_preprocessor(batch(*domains), True)
    return model.loss(data["inputs"], data["data_samples"]), data


def test_half_of_the_classes_are_chosen():
    labels = torch.tensor([[0, 0, 1], [2, 4, 255]])
    seen = set()
    for seed in range(40):
        mask = choose_classes(labels, torch.Generator().manual_seed(seed))
        chosen = set(labels[mask].tolist())
        assert len(chosen) == 2
        assert IGNORED not in chosen
        assert all((labels[~mask] != value).all() for value in chosen)
        seen.add(frozenset(chosen))
    assert len(seen) == 6
    assert not choose_classes(torch.full((2, 2), IGNORED)).any()
    assert choose_classes(torch.ones(2, 2, dtype=torch.long)).all()


def test_paste():
    mask = torch.tensor([[[True, False]]])
    assert paste(mask, torch.tensor([[[1, 1]]]), torch.tensor([[[2, 2]]])).tolist() == [[[1, 2]]]
    image = paste(mask, torch.ones(1, 3, 1, 2), torch.zeros(1, 3, 1, 2))
    assert image[0, :, 0].tolist() == [[1, 0]] * 3


def test_jitter_is_affine_per_channel():
    images = torch.randn(2, 3, 4, 5)
    changed = colour_jitter(images, 0.3, torch.Generator().manual_seed(0))
    for b in range(2):
        for c in range(3):
            before, after = images[b, c].flatten(), changed[b, c].flatten()
            slope = (after[1] - after[0]) / (before[1] - before[0])
            assert 0.7 <= slope <= 1.3
            shift = after[0] - slope * before[0]
            assert abs(shift) <= 0.3 + 1e-4
            torch.testing.assert_close(after, slope * before + shift, rtol=1e-3, atol=1e-3)
    assert torch.equal(colour_jitter(images, 0.0), images)


def test_term_against_a_replay():
    """The whole term from ClassMix's description, given the same random classes."""
    model = build(weight=0.7, confidence=0.4, jitter=0.0, blur=0.0)
    model.teacher.update_parameters(model.networks())
    with torch.no_grad():
        # A teacher that differs from the student, so that it matters who labels.
        for parameter in model.teacher.module.parameters():
            parameter.mul_(1.1)
    torch.manual_seed(11)
    values, data = losses_of(model, "source", "source", "target", "target")
    torch.manual_seed(11)
    inputs, samples = data["inputs"], data["data_samples"]
    teacher = model.teacher.module["segmentor"]
    images, labels, weights, shares = [], [], [], []
    for index in range(2):
        with torch.no_grad():
            logits = teacher.decode_head(teacher.extract_feat(inputs[2 + index][None]))
            logits = F.interpolate(logits, (SIZE, SIZE), mode="bilinear", align_corners=False)
        confidence, classes = logits.softmax(1)[0].max(0)
        share = (confidence > 0.4).float().mean()
        truth = samples[index].gt_sem_seg.data[0]
        present = [c for c in range(CLASSES) if (truth == c).any()]
        order = torch.randperm(len(present))
        chosen = [present[i] for i in order[: (len(present) + 1) // 2]]
        mask = torch.zeros(SIZE, SIZE, dtype=torch.bool)
        for value in chosen:
            mask |= truth == value
        images.append(torch.where(mask, inputs[index], inputs[2 + index]))
        labels.append(torch.where(mask, truth, classes))
        weights.append(torch.where(mask, 1.0, share))
        shares.append(share)
    student = model.segmentor
    logits = student.decode_head(student.extract_feat(torch.stack(images)))
    logits = F.interpolate(logits, (SIZE, SIZE), mode="bilinear", align_corners=False)
    per_pixel = F.cross_entropy(logits, torch.stack(labels), reduction="none")
    wanted = 0.7 * (per_pixel * torch.stack(weights)).mean()
    assert 0 < values["mix.confident_share"] < 1
    torch.testing.assert_close(values["mix.confident_share"], torch.stack(shares).mean())
    torch.testing.assert_close(values["mix.loss_mix"], wanted, rtol=1e-4, atol=1e-5)


def test_step_changes_no_teacher_and_trains_the_student():
    model = build()
    model.teacher.update_parameters(model.networks())
    before = {name: value.clone() for name, value in model.teacher.state_dict().items()}
    values, _ = losses_of(model, "source", "target")
    values["mix.loss_mix"].backward()
    assert all(torch.equal(v, before[n]) for n, v in model.teacher.state_dict().items())
    assert all(p.grad is None for p in model.teacher.parameters())
    assert model.segmentor.backbone.conv1.weight.grad is not None
    total, logged = model.parse_losses(values)
    assert "mix.confident_share" in logged
    torch.testing.assert_close(
        total, sum(v for n, v in values.items() if n.rsplit(".", 1)[-1].startswith("loss_"))
    )


def test_term_needs_both_domains_and_a_teacher():
    model = build()
    with pytest.raises(ValueError, match="needs a teacher that has begun"):
        losses_of(model, "source", "target")
    assert "mix.loss_mix" not in losses_of(model, "source", "source")[0]


@pytest.mark.parametrize("options", [dict(confidence=1.0), dict(jitter=-0.1), dict(blur=2)])
def test_values_out_of_range(options):
    with pytest.raises(ValueError, match="found"):
        build(**options)


def confident_model():
    torch.manual_seed(0)
    loss = [dict(type="WeightedCrossEntropyLoss"), dict(type="ReverseCrossEntropyLoss")]
    return MODELS.build(
        dict(
            type="UDASegmentor",
            data_preprocessor=dict(
                type="UDADataPreprocessor", mean=[100.0] * 3, std=[50.0] * 3, size=(SIZE, SIZE)
            ),
            segmentor=plain_config(),
            terms=dict(target=dict(
                type="SegmentationTerm", domain="target", weight=0.5, confidence=True, loss=loss)),
        )
    ).train()  # fmt: skip


def test_labels_are_weighted_by_confidence():
    model = confident_model()
    raw = batch("target", "target")
    generator = torch.Generator().manual_seed(1)
    confidences = torch.randint(256, (2, 1, SIZE, SIZE), generator=generator, dtype=torch.uint8)
    for sample, values in zip(raw["data_samples"], confidences, strict=True):
        sample.set_data(dict(gt_confidence=PixelData(data=values)))
    data = model.data_preprocessor(raw, True)
    values = model.loss(data["inputs"], data["data_samples"])
    labels = torch.cat([sample.gt_sem_seg.data for sample in data["data_samples"]]).long()
    student = model.segmentor
    logits = student.decode_head(student.extract_feat(data["inputs"]))
    logits = F.interpolate(logits, (SIZE, SIZE), mode="bilinear", align_corners=False)
    weight = confidences[:, 0] / 255
    valid = labels != IGNORED
    cross = F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="none")
    own = logits.softmax(1).gather(1, labels.clamp(max=CLASSES - 1)[:, None])[:, 0]
    wanted = [(cross * weight)[valid].mean(), 0.1 * (4 * (1 - own) * weight)[valid].mean()]
    torch.testing.assert_close(values["target.loss_ce"], 0.5 * wanted[0])
    torch.testing.assert_close(values["target.loss_rce"], 0.5 * wanted[1])


def test_confidence_that_is_missing_is_explained():
    model = confident_model()
    data = model.data_preprocessor(batch("target"), True)
    with pytest.raises(ValueError, match="LoadPseudoLabelConfidence"):
        model.loss(data["inputs"], data["data_samples"])
    with pytest.raises(ValueError, match="needs a loss"):
        MODELS.build(dict(type="SegmentationTerm", domain="target", confidence=True))
