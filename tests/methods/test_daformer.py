"""DAFormer's feature distance, and whole steps of DAFormer and of HRDA in plain PyTorch."""

import copy
import itertools
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS
from mmseg.registry import MODELS
from tiny_adaptor import CLASSES, PREPROCESSOR, SIZE, batch, plain_config
from torch import nn

from mmdrsl.engine.launch import read_config
from mmdrsl.methods.daformer import cells_of_classes, coarsest_map, frozen_copy
from mmdrsl.models.strong_augmentation import strong_augmentation
from mmdrsl.models.teacher_prediction import TeacherPrediction

ROOT = Path(__file__).parents[2]
IGNORED = 255
SPACE = dict(
    name="three", classes=["road", "car", "person"], palette=[[0, 0, 0], [1, 1, 1], [2, 2, 2]]
)
WINDOW = 32


def build(terms, *, hrda=False, space=SPACE, **options):
    torch.manual_seed(1)
    segmentor = plain_config()
    if hrda:
        segmentor.update(type="HRDASegmentor", detail_size=(WINDOW, WINDOW))
    return MODELS.build(
        dict(
            type="UDASegmentor",
            data_preprocessor=PREPROCESSOR,
            segmentor=segmentor,
            label_space=space,
            terms=terms,
            **options,
        )
    ).train()


def distance_term(**options):
    return dict(distance=dict(type="FeatureDistanceTerm", **options))


def test_cells_by_loops():
    torch.manual_seed(0)
    labels = torch.randint(4, (3, 4, 6)).repeat_interleave(4, 1).repeat_interleave(4, 2)
    labels = labels.roll((1, 1), (1, 2))
    labels[:, :3, :5] = IGNORED
    found = cells_of_classes(labels, [1, 3], (4, 6))
    for image in range(3):
        for row in range(4):
            for column in range(6):
                cell = labels[image, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4].flatten()
                counts = torch.bincount(cell, minlength=256)
                wanted = int(counts.argmax()) in (1, 3) and counts.max() / 16 >= 0.75
                assert found[image, row, column] == wanted
    assert 0 < found.float().mean() < 1


def test_coarsest_map():
    maps = [torch.zeros(1, 2, 8, 8), torch.zeros(1, 3, 4, 4), torch.zeros(1, 4, 4, 4)]
    assert coarsest_map(maps) is maps[2]
    # SegNet's indices and image size.
    assert (
        coarsest_map([*maps, torch.zeros(1, 1, 2, 2, dtype=torch.int64), torch.zeros(1, 0, 1, 1)])
        is maps[2]
    )


def test_frozen_copy_computes_the_same_and_has_no_parameters():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1, bias=False))
    frozen = frozen_copy(module)
    assert not list(frozen.parameters())
    assert frozen.state_dict().keys() == module.state_dict().keys()
    images = torch.randn(2, 3, 8, 8)
    wanted = copy.deepcopy(module).eval()(images)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    torch.testing.assert_close(frozen(images), wanted)


def test_distance_is_to_the_first_weights():
    model = build(distance_term(weight=2.0))
    model.init_weights()
    model.train()
    first = copy.deepcopy(model.segmentor.backbone)
    first.eval()
    assert not model.terms["distance"].encoder.training
    assert any(name.startswith("terms.distance.encoder.") for name in model.state_dict())
    assert not any(name.startswith("terms.") for name, _ in model.named_parameters())
    with torch.no_grad():
        for parameter in model.segmentor.backbone.parameters():
            parameter.mul_(1.2)
    data = model.data_preprocessor(batch("source", "source"), True)
    reference = copy.deepcopy(model.segmentor.backbone)
    values = model.loss(**data)
    labels = torch.cat([sample.gt_sem_seg.data for sample in data["data_samples"]])
    ours, theirs = reference(data["inputs"])[-1], first(data["inputs"])[-1]
    distances, side = [], SIZE // ours.shape[2]
    for image in range(2):
        for row in range(ours.shape[2]):
            for column in range(ours.shape[3]):
                cell = labels[image, side * row : side * (row + 1), side * column :][:, :side]
                if max((cell == 1).float().mean(), (cell == 2).float().mean()) >= 0.75:
                    difference = ours[image, :, row, column] - theirs[image, :, row, column]
                    distances.append(difference.square().sum().sqrt())
    assert 0 < len(distances) < 2 * ours.shape[2] ** 2
    wanted = 2.0 * torch.stack(distances).mean()
    torch.testing.assert_close(values["distance.loss_distance"], wanted, rtol=1e-4, atol=1e-5)


def test_images_without_things_have_no_distance():
    model = build(distance_term(weight=2.0))
    data = model.data_preprocessor(batch("source", "source"), True)
    for sample in data["data_samples"]:
        sample.gt_sem_seg.data.zero_()
    values = model.loss(**data)
    values["distance.loss_distance"].backward()
    assert values["distance.loss_distance"] == 0
    assert values["distance.thing_share"] == 0
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert all((each == 0).all() for each in gradients)


def test_without_a_factor_nothing_is_kept():
    model = build(distance_term(weight=0.0), space=None)
    assert not model.terms.state_dict()
    data = model.data_preprocessor(batch("source"), True)
    assert model.loss(**data)["distance.loss_distance"] == 0


def test_classes_are_names_of_the_label_space():
    for classes, wanted in ((None, [2, 1]), (["car"], [1])):
        assert build(distance_term(classes=classes)).terms["distance"].ids == wanted
    with pytest.raises(ValueError, match=r"none of \['bus'\]"):
        build(distance_term(classes=["car", "bus"]))
    with pytest.raises(ValueError, match=r"Set model\.label_space"):
        build(distance_term(), space=None)


def draw_box():
    """As `HRDASegmentor` draws, for images twice as large as the window."""
    top, left = (8 * int(torch.randint(5, ())) for _ in range(2))
    return top, left


def enlarge(x, size):
    return F.interpolate(x, (size, size), mode="bilinear", align_corners=False)


def two_scales(segmentor, images, places):
    """HRDA's logits, and those of the windows that begin at these places."""
    head = segmentor.decode_head
    small = segmentor.backbone(F.avg_pool2d(images, 2))
    crops = [images[:, :, y : y + WINDOW, x : x + WINDOW] for y, x in places]
    large = segmentor.backbone(torch.cat(crops))
    context, detail = head.decode_head(small), head.decode_head(large)
    attention = head.scale_attention(small).sigmoid()
    # Stride 8: 4 x 4 cells of 16 pixels of the image, 8 x 8 of 8.
    mask, canvas = torch.zeros(1, 1, 4, 4), torch.zeros(len(images), CLASSES, 8, 8)
    count = torch.zeros(8, 8)
    for number, (y, x) in enumerate(places):
        (top, bottom), (left, right) = ((round(e / 16) for e in (z, z + WINDOW)) for z in (y, x))
        mask[..., top:bottom, left:right] = 1
        padding = (x // 8, 4 - x // 8, y // 8, 4 - y // 8)
        part = detail[number * len(images) : (number + 1) * len(images)]
        canvas = canvas + F.pad(part, padding)
        count = count + F.pad(torch.ones(4, 4), padding)
    attention = attention * mask
    fused = enlarge((1 - attention) * context, 8)
    return fused + enlarge(attention, 8) * canvas / count.clamp(min=1), detail


def judged(segmentor, images, labels, weights, *, hrda):
    """Mean weighted cross entropy of a training pass, of HRDA with a tenth for the detail."""

    def entropy(logits, labels, weights):
        full = enlarge(logits, labels.shape[1])
        losses = F.cross_entropy(full, labels, reduction="none", ignore_index=IGNORED)
        return (losses * weights).sum() / (labels != IGNORED).sum()

    if not hrda:
        return entropy(segmentor.decode_head(segmentor.backbone(images)), labels, weights)
    top, left = draw_box()
    fused, detail = two_scales(segmentor, images, [(top, left)])
    inner = (slice(None), slice(top, top + WINDOW), slice(left, left + WINDOW))
    return 0.9 * entropy(fused, labels, weights) + 0.1 * entropy(
        detail, labels[inner], weights[inner]
    )


def teacher_says(teacher, images, *, hrda):
    labeler = copy.deepcopy(teacher).train()
    with torch.no_grad():
        if hrda:
            places = list(itertools.product((0, 16, 32), (0, 16, 32)))
            logits, _ = two_scales(labeler, images, places)
        else:
            logits = labeler.decode_head(labeler.backbone(images))
        return enlarge(logits, SIZE).softmax(1).max(1)


@pytest.mark.parametrize("hrda", [False, True])
def test_steps_replayed(hrda):
    """Two steps with the config's own terms: losses, the student's new weights, and the teacher's."""
    cfg = Config.fromfile(ROOT / "configs/_base_/methods/daformer.py")
    terms = copy.deepcopy(cfg.method.terms.to_dict())
    terms["mix"].update(pseudo_threshold=0.341, ignored_rows=(5, 9))
    # The published factor is too small to be seen in an updated weight.
    terms["distance"]["weight"] = 0.3
    model = build(terms, hrda=hrda, bn_mode=cfg.method.bn_mode)
    model.teacher_prediction = TeacherPrediction(statistics=cfg.method_hooks.teacher.statistics)
    model.add_teacher(cfg.method_hooks.teacher.average)
    model.teacher.update_parameters(model.networks())
    student, teacher, first = (copy.deepcopy(model.segmentor) for _ in range(3))
    first.eval()
    start_state = copy.deepcopy(student.state_dict())
    wrapper = build_optim_wrapper(model, dict(optimizer=dict(type="SGD", lr=0.05, momentum=0.9)))
    sgd = torch.optim.SGD(student.parameters(), lr=0.05, momentum=0.9)
    colors = dict(mean=model.data_preprocessor.mean, std=model.data_preprocessor.std)
    for step in (1, 2):
        data = batch("source", "source", "target", "target", seed=step)
        for each in data["data_samples"][:2]:
            # A thing that fills cells at half size, too.
            each.gt_sem_seg.data[:, 20:, 26:] = 1
        torch.manual_seed(step)
        log = model.train_step(copy.deepcopy(data), wrapper)
        model.teacher.update_parameters(model.networks())

        torch.manual_seed(step)
        images = (torch.stack(data["inputs"]).float() - 100) / 50
        labels = torch.cat([sample.gt_sem_seg.data for sample in data["data_samples"]]).long()
        seen = []
        handle = student.backbone.register_forward_hook(lambda *parts, s=seen: s.append(parts[2]))
        source_loss = judged(student, images[:2], labels[:2], torch.ones(2, SIZE, SIZE), hrda=hrda)
        handle.remove()
        after_source = torch.get_rng_state()
        confidence, classes = teacher_says(teacher, images[2:], hrda=hrda)
        share = (confidence > 0.341).float().mean()
        assert 0 < share < 1
        weights = share.expand(2, SIZE, SIZE).clone()
        weights[:, :5], weights[:, -9:] = 0, 0
        # Every term draws as if it were alone.
        torch.set_rng_state(after_source)
        present = labels[:2].unique()
        masks = torch.stack(
            [
                torch.isin(each, present[torch.randperm(len(present))[: (len(present) + 1) // 2]])
                for each in labels[:2]
            ]
        )
        mixed = strong_augmentation(torch.where(masks[:, None], images[:2], images[2:]), **colors)
        wanted = torch.where(masks, labels[:2], classes)
        mix_loss = judged(student, mixed, wanted, torch.where(masks, 1.0, weights), hrda=hrda)
        read = F.avg_pool2d(images[:2], 2) if hrda else images[:2]
        difference = seen[0][-1] - first.backbone(read)[-1].detach()
        cells = cells_of_classes(labels[:2], [1, 2], tuple(difference.shape[2:]))
        distance = 0.3 * difference.square().sum(1).sqrt()[cells].mean()
        found = sum(
            log[name].item() for name in log if name.startswith("source.") and "loss" in name
        )
        found_detail = sum(log[name].item() for name in log if name == "source.detail.loss_ce")
        assert (found_detail > 0) is hrda
        assert found == pytest.approx(source_loss.item(), rel=1e-4)
        assert log["mix.loss_mix"].item() == pytest.approx(mix_loss.item(), rel=1e-4)
        assert log["distance.loss_distance"].item() == pytest.approx(distance.item(), rel=1e-4)
        assert distance > 0
        sgd.zero_grad()
        (source_loss + mix_loss + distance).backward()
        sgd.step()
        old = min(1 - 1 / (step + 1), 0.999)
        for mean, newest in zip(teacher.parameters(), student.parameters(), strict=True):
            mean.data.copy_(old * mean.data + (1 - old) * newest.data)
        for mean, newest in zip(teacher.buffers(), student.buffers(), strict=True):
            mean.copy_(newest)
    for name, value in student.state_dict().items():
        found = model.segmentor.state_dict()[name]
        torch.testing.assert_close(found, value, rtol=1e-3, atol=2e-5, msg=name)
        assert not torch.equal(found, start_state[name]), name
    averaged = model.teacher.module["segmentor"].state_dict()
    for name, value in teacher.state_dict().items():
        torch.testing.assert_close(averaged[name], value, rtol=1e-3, atol=2e-5, msg=name)


def test_rates_of_the_publication():
    """6e-5 (1 - t / 40000), times a linear warm-up of 1,500 steps; heads have ten times that."""
    cfg = read_config(ROOT / "configs/daformer/daformer_mitb5_gta2cs.py")
    module = nn.ModuleDict(
        dict(backbone=nn.Linear(2, 2), norm=nn.LayerNorm(2), head=nn.Linear(2, 2))
    )
    optimizer = build_optim_wrapper(module, cfg.optim_wrapper).optimizer
    by_name = dict(module.named_parameters())
    groups = {
        name: group
        for name, parameter in by_name.items()
        for group in optimizer.param_groups
        if any(parameter is each for each in group["params"])
    }
    assert groups["norm.weight"]["weight_decay"] == 0
    assert groups["backbone.weight"]["weight_decay"] == groups["head.bias"]["weight_decay"] == 0.01
    schedulers = [
        PARAM_SCHEDULERS.build(dict(each, optimizer=optimizer)) for each in cfg.param_scheduler
    ]
    for step in range(1601):
        if step in (0, 1, 700, 1499, 1600):
            wanted = 6e-5 * (1 - step / 40000) * (1 - (1 - min(1, step / 1500)) * (1 - 1e-6))
            assert groups["backbone.weight"]["lr"] == pytest.approx(wanted, rel=2e-3)
            assert groups["head.weight"]["lr"] == pytest.approx(10 * wanted, rel=2e-3)
        optimizer.step()
        for each in schedulers:
            each.step()


def test_rare_classes_of_the_publication():
    for name, ratio in (("daformer/daformer", 0.5), ("hrda/hrda", 2.0)):
        cfg = read_config(ROOT / f"configs/{name}_mitb5_gta2cs.py")
        assert cfg.train_dataloader.sampler.rare_class_sampling == dict(
            class_temp=0.01, min_pixels=3000, min_crop_ratio=ratio
        )
