import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmseg.registry import MODELS
from tiny_adaptor import CLASSES, PREPROCESSOR, SIZE, batch, losses_of, plain_config

from mmdrsl.methods.adaptation_term import AdaptationTerm
from mmdrsl.models.strong_augmentation import strong_augmentation
from mmdrsl.models.teacher_prediction import TeacherPrediction

ROOT = Path(__file__).parents[2]
IGNORED = 255
EMA = dict(type="ExponentialMovingAverage", momentum=0.5)


def build(statistics="running", bn_mode="separate", terms=None, **options):
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type="UDASegmentor",
            data_preprocessor=PREPROCESSOR,
            segmentor=plain_config(),
            bn_mode=bn_mode,
            terms=terms
            or dict(
                source=dict(type="SegmentationTerm", domain="source"),
                mix=dict(type="ClassMixTerm", **options),
            ),
        )
    )
    model.add_teacher(EMA)
    model.teacher_prediction = TeacherPrediction(statistics=statistics)
    return model.train()


def full_logits(segmentor, images):
    logits = segmentor.decode_head(segmentor.extract_feat(images))
    return F.interpolate(logits, (SIZE, SIZE), mode="bilinear", align_corners=False)


def teacher_logits(teacher, images, statistics):
    """A copy labels, so that what it does to its own buffers is lost."""
    labeler = copy.deepcopy(teacher)
    labeler.train(statistics == "batch")
    with torch.no_grad():
        return full_logits(labeler, images)


def half_of_the_classes(labels, classes_from):
    """Masks by loops over the classes."""
    masks = torch.zeros(len(labels), SIZE, SIZE, dtype=torch.bool)
    for mask, truth in zip(masks, labels, strict=True):
        if classes_from == "image":
            present = [c for c in range(CLASSES) if (truth == c).any()]
        else:
            present = labels.unique().tolist()
        order = torch.randperm(len(present))
        for index in order[: (len(present) + 1) // 2]:
            mask |= truth == present[index]
    return masks


@pytest.mark.parametrize(
    ("statistics", "classes_from"), [("running", "image"), ("batch", "image"), ("batch", "batch")]
)
def test_term_against_a_replay(statistics, classes_from):
    """The whole term from ClassMix's description, given the same random classes."""
    options = dict(weight=0.7, pseudo_threshold=0.4, jitter=0.0, classes_from=classes_from)
    model = build(statistics, **options)
    model.teacher.update_parameters(model.networks())
    with torch.no_grad():
        # A teacher that differs from the student, so that it matters who labels.
        for parameter in model.teacher.module.parameters():
            parameter.mul_(1.1)
    buffers = {name: value.clone() for name, value in model.teacher.named_buffers()}
    torch.manual_seed(11)
    data = model.data_preprocessor(batch("source", "source", "target", "target"), True)
    values = model.loss(**data)
    # Statistics of the batch are used and not kept.
    assert all(torch.equal(v, buffers[name]) for name, v in model.teacher.named_buffers())
    torch.manual_seed(11)
    inputs, samples = data["inputs"], data["data_samples"]
    labels = torch.stack([sample.gt_sem_seg.data[0] for sample in samples[:2]])
    teacher = model.teacher.module["segmentor"]
    confidence, classes = teacher_logits(teacher, inputs[2:], statistics).softmax(1).max(1)
    share = (confidence > 0.4).float().mean()
    masks = half_of_the_classes(labels, classes_from)
    mixed = torch.where(masks[:, None], inputs[:2], inputs[2:])
    wanted_labels = torch.where(masks, labels, classes)
    logits = full_logits(model.segmentor, mixed)
    per_pixel = F.cross_entropy(logits, wanted_labels, reduction="none", ignore_index=IGNORED)
    valid = wanted_labels != IGNORED
    wanted = 0.7 * (per_pixel * torch.where(masks, 1.0, share)).sum() / valid.sum()
    assert 0 < share < 1
    torch.testing.assert_close(values["mix.confident_share"], share)
    torch.testing.assert_close(values["mix.loss_mix"], wanted, rtol=1e-4, atol=1e-5)


def test_target_images_that_no_term_reads_are_not_run():
    model = build(jitter=0.0)
    model.teacher.update_parameters(model.networks())
    sizes = []
    model.segmentor.backbone.register_forward_pre_hook(lambda _, x: sizes.append(len(x[0])))
    losses_of(model, "source", "source", "target", "target", "target")
    # The source, and two mixed images; the teacher is another module.
    assert sizes == [2, 2]


def test_steps_replayed_with_the_teacher_of_the_config():
    """Two steps with the config's own terms: losses, the student's new weights, and the teacher's."""
    cfg = Config.fromfile(ROOT / "configs/_base_/methods/mic.py")
    terms = copy.deepcopy(cfg.method.terms.to_dict())
    for name in ("mix", "masked"):
        terms[name]["pseudo_threshold"] = 0.341
    terms["masked"]["block_size"] = 16
    hook = cfg.method_hooks.teacher
    model = build(hook.statistics, cfg.method.bn_mode, terms)
    model.teacher = None
    model.add_teacher(hook.average)
    model.teacher.update_parameters(model.networks())
    student, teacher = (copy.deepcopy(model.segmentor) for _ in range(2))
    wrapper = build_optim_wrapper(model, dict(optimizer=dict(type="SGD", lr=0.05, momentum=0.9)))
    sgd = torch.optim.SGD(student.parameters(), lr=0.05, momentum=0.9)
    colors = dict(mean=model.data_preprocessor.mean, std=model.data_preprocessor.std)
    for step in (1, 2):
        data = batch("source", "source", "target", "target", seed=step)
        torch.manual_seed(step)
        log = model.train_step(copy.deepcopy(data), wrapper)
        # The teacher's part of a step is MeanTeacherHook's.
        model.teacher.update_parameters(model.networks())

        torch.manual_seed(step)
        start = torch.get_rng_state()
        images = (torch.stack(data["inputs"]).float() - 100) / 50
        labels = torch.cat([sample.gt_sem_seg.data for sample in data["data_samples"]]).long()
        source_loss = F.cross_entropy(
            full_logits(student, images[:2]), labels[:2], ignore_index=IGNORED
        )
        found = teacher_logits(teacher, images[2:], "batch")
        confidence, classes = found.softmax(1).max(1)
        share = (confidence > 0.341).float().mean()
        assert 0 < share < 1
        # Every term draws as if it were alone.
        torch.set_rng_state(start)
        masks = half_of_the_classes(labels[:2], "image")
        mixed = torch.where(masks[:, None], images[:2], images[2:])
        mixed = strong_augmentation(mixed, **colors)
        wanted = torch.where(masks, labels[:2], classes)
        per_pixel = F.cross_entropy(full_logits(student, mixed), wanted, reduction="none")
        mix_loss = (per_pixel * torch.where(masks, 1.0, share)).mean()
        torch.set_rng_state(start)
        hidden = strong_augmentation(images[2:], **colors)
        visible = (torch.rand(2, 1, SIZE // 16, SIZE // 16) > 0.7).float()
        hidden = hidden * visible.repeat_interleave(16, 2).repeat_interleave(16, 3)
        statistics = {name: value.clone() for name, value in student.named_buffers()}
        masked_logits = full_logits(student, hidden)
        masked_loss = share * F.cross_entropy(masked_logits, classes)
        assert log["source.loss_ce"].item() == pytest.approx(source_loss.item(), rel=1e-4)
        assert log["mix.loss_mix"].item() == pytest.approx(mix_loss.item(), rel=1e-4)
        assert log["masked.loss_masked"].item() == pytest.approx(masked_loss.item(), rel=1e-4)
        sgd.zero_grad()
        (source_loss + mix_loss + masked_loss).backward()
        sgd.step()
        # Masked images stay out of the running statistics.
        student.load_state_dict(statistics, strict=False)
        # min(1 - 1 / (step + 1), 0.99) of the old teacher; buffers are the student's.
        old = min(1 - 1 / (step + 1), 0.99)
        for mean, newest in zip(teacher.parameters(), student.parameters(), strict=True):
            mean.data.copy_(old * mean.data + (1 - old) * newest.data)
        for mean, newest in zip(teacher.buffers(), student.buffers(), strict=True):
            mean.copy_(newest)
    start_state = build().segmentor.state_dict()
    for name, value in student.state_dict().items():
        found = model.segmentor.state_dict()[name]
        torch.testing.assert_close(found, value, rtol=1e-3, atol=2e-5, msg=name)
        assert not torch.equal(found, start_state[name]), name
    averaged = model.teacher.module["segmentor"].state_dict()
    for name, value in teacher.state_dict().items():
        torch.testing.assert_close(averaged[name], value, rtol=1e-3, atol=2e-5, msg=name)


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


@pytest.mark.parametrize(
    "options", [dict(pseudo_threshold=1.0), dict(jitter=-0.1), dict(classes_from="domain")]
)
def test_values_out_of_range(options):
    with pytest.raises(ValueError, match="found"):
        build(**options)


def test_the_teacher_is_for_terms_that_declare_it():
    class Reader(AdaptationTerm):
        def forward(self, step):
            return {"loss_read": step.teacher_probabilities().sum()}

    model = build()
    model.teacher.update_parameters(model.networks())
    model.terms["undeclared"] = Reader(domains=("target",))
    with pytest.raises(ValueError, match="must also declare needs_teacher"):
        losses_of(model, "source", "source", "target", "target")


def test_a_head_named_teacher_is_not_the_teacher():
    terms = dict(
        mix=dict(type="ClassMixTerm", jitter=0),
        entropy=dict(type="EntropyTerm", head="teacher"),
    )
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type="UDASegmentor",
            data_preprocessor=PREPROCESSOR,
            segmentor=plain_config(),
            heads=dict(teacher=dict(plain_config()["decode_head"], dropout_ratio=0.0)),
            terms=terms,
        )
    )
    model.add_teacher(EMA)
    model.teacher.update_parameters(model.networks())
    domains = ("source", "source", "target", "target")
    loss = losses_of(model.train(), *domains)["entropy.loss_entropy"]
    # The teacher's own prediction has no gradient.
    assert loss.requires_grad


def test_mixed_images_are_shown_with_their_labels():
    model = build(jitter=0.0)
    model.teacher.update_parameters(model.networks())
    model.pictures = {}
    data = model.data_preprocessor(batch("source", "source", "target", "target"), True)
    model.loss(**data)
    source, target = data["inputs"][:2], data["inputs"][2:]
    truth = torch.stack([s.gt_sem_seg.data[0] for s in data["data_samples"][:2]])
    image, label = model.pictures["mixed image"], model.pictures["mixed label"]
    pasted = (image == source).all(dim=1)
    assert 0.1 < pasted.float().mean() < 0.9
    assert (image == torch.where(pasted[:, None], source, target)).all()
    assert (label == torch.where(pasted, truth, model.pictures["teacher's label"])).all()
