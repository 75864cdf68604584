import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmseg.registry import MODELS
from tiny_adaptor import CLASSES, PREPROCESSOR, SIZE, batch, losses_of, plain_config

ROOT = Path(__file__).parents[2]
IGNORED = 255
EMA = dict(type="ExponentialMovingAverage", momentum=0.5)


def build(**options):
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type="UDASegmentor",
            data_preprocessor=PREPROCESSOR,
            segmentor=plain_config(),
            terms=dict(
                source=dict(type="SegmentationTerm", domain="source"),
                mix=dict(type="ClassMixTerm", **options),
            ),
        )
    )
    model.add_teacher(EMA)
    return model.train()


def test_term_against_a_replay():
    """The whole term from ClassMix's description, given the same random classes."""
    model = build(weight=0.7, pseudo_threshold=0.4, jitter=0.0, blur=0.0)
    model.teacher.update_parameters(model.networks())
    with torch.no_grad():
        # A teacher that differs from the student, so that it matters who labels.
        for parameter in model.teacher.module.parameters():
            parameter.mul_(1.1)
    torch.manual_seed(11)
    data = model.data_preprocessor(batch("source", "source", "target", "target"), True)
    values = model.loss(**data)
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


def blurred(images, sigma):
    """Gaussian blur over nine pixels, mirrored at the border, as two sums over shifts."""
    taps = torch.exp(-0.5 * (torch.arange(-4, 5) / sigma) ** 2)
    taps = taps / taps.sum()
    padded = F.pad(images, (4, 4, 4, 4), mode="reflect")
    rows = sum(tap * padded[:, :, i : i + SIZE] for i, tap in enumerate(taps))
    return sum(tap * rows[..., i : i + SIZE] for i, tap in enumerate(taps))


def test_steps_of_dacs_replayed_with_its_teacher():
    """Two steps with the config's own term: losses, the student's new weights, and the teacher's."""
    cfg = Config.fromfile(ROOT / "configs/_base_/methods/dacs.py")
    options = {key: value for key, value in cfg.method.terms.mix.items() if key != "type"}
    model = build(**{**options, "pseudo_threshold": 0.341})
    model.teacher = None
    model.add_teacher(cfg.method_hooks.teacher.average)
    model.teacher.update_parameters(model.networks())
    student, teacher = (copy.deepcopy(model.segmentor) for _ in range(2))
    teacher.eval()
    wrapper = build_optim_wrapper(model, dict(optimizer=dict(type="SGD", lr=0.05, momentum=0.9)))
    sgd = torch.optim.SGD(student.parameters(), lr=0.05, momentum=0.9)

    def logits_of(segmentor, images):
        logits = segmentor.decode_head(segmentor.extract_feat(images))
        return F.interpolate(logits, (SIZE, SIZE), mode="bilinear", align_corners=False)

    blurs = []
    # Seeds of a step whose mixed images are blurred, and of one whose are not.
    for step, seed in ((1, 1), (2, 3)):
        data = batch("source", "source", "target", "target", seed=step)
        torch.manual_seed(seed)
        log = model.train_step(copy.deepcopy(data), wrapper)
        # The teacher's part of a step is MeanTeacherHook's.
        model.teacher.update_parameters(model.networks())

        torch.manual_seed(seed)
        images = (torch.stack(data["inputs"]).float() - 100) / 50
        labels = torch.cat([sample.gt_sem_seg.data for sample in data["data_samples"]]).long()
        source_loss = F.cross_entropy(
            logits_of(student, images)[:2], labels[:2], ignore_index=IGNORED
        )
        with torch.no_grad():
            confidence, classes = logits_of(teacher, images[2:]).softmax(1).max(1)
        masks = torch.zeros(2, SIZE, SIZE, dtype=torch.bool)
        for mask, truth in zip(masks, labels[:2], strict=True):
            present = [c for c in range(CLASSES) if (truth == c).any()]
            order = torch.randperm(len(present))
            for index in order[: (len(present) + 1) // 2]:
                mask |= truth == present[index]
        mixed = torch.where(masks[:, None], images[:2], images[2:])
        contrast, brightness = torch.rand(2, 2, 3, 1, 1) * 0.5 - 0.25
        mixed = mixed * (1 + contrast) + brightness
        blurs.append(float(torch.rand(())) < 0.5)
        if blurs[-1]:
            mixed = blurred(mixed, 0.15 + float(torch.rand(())))
        share = (confidence > 0.341).float().mean((1, 2))
        weights = torch.where(masks, 1.0, share[:, None, None])
        wanted = torch.where(masks, labels[:2], classes)
        per_pixel = F.cross_entropy(logits_of(student, mixed), wanted, reduction="none")
        mix_loss = (per_pixel * weights).mean()
        assert 0 < share.min() < share.max() < 1
        assert log["source.loss_ce"].item() == pytest.approx(source_loss.item(), rel=1e-4)
        assert log["mix.loss_mix"].item() == pytest.approx(mix_loss.item(), rel=1e-4)
        sgd.zero_grad()
        (source_loss + mix_loss).backward()
        sgd.step()
        # min(1 - 1 / (step + 1), 0.99) of the old teacher.
        old = min(1 - 1 / (step + 1), 0.99)
        entries = zip(teacher.state_dict().values(), student.state_dict().values(), strict=True)
        for mean, newest in entries:
            if mean.is_floating_point():
                mean.copy_(old * mean + (1 - old) * newest)
    assert sorted(blurs) == [False, True]
    start = build().segmentor.state_dict()
    for name, value in student.state_dict().items():
        found = model.segmentor.state_dict()[name]
        torch.testing.assert_close(found, value, rtol=1e-3, atol=2e-5, msg=name)
        assert not torch.equal(found, start[name]), name
    averaged = model.teacher.module["segmentor"].state_dict()
    for name, value in teacher.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(averaged[name], value, rtol=1e-3, atol=2e-5, msg=name)
            assert not torch.equal(averaged[name], model.segmentor.state_dict()[name]), name


def test_step_changes_no_teacher_and_trains_the_student():
    model = build()
    model.teacher.update_parameters(model.networks())
    before = {name: value.clone() for name, value in model.teacher.state_dict().items()}
    values = losses_of(model, "source", "target")
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
    with pytest.raises(ValueError, match=r"add default_hooks=.*MeanTeacherHook"):
        losses_of(model, "source", "target")
    assert "mix.loss_mix" not in losses_of(model, "source", "source")


@pytest.mark.parametrize("options", [dict(pseudo_threshold=1.0), dict(jitter=-0.1), dict(blur=2)])
def test_values_out_of_range(options):
    with pytest.raises(ValueError, match="found"):
        build(**options)
