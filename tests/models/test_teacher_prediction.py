import copy
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmseg.registry import HOOKS, MODELS
from tiny_adaptor import CLASSES, SIZE, plain_config

from mmdrsl.models.teacher_prediction import TeacherPrediction
from mmdrsl.models.view_average import average_over_views

WEIGHTS = [1.0 + index for index in range(CLASSES)]


def networks(class_weight=None):
    torch.manual_seed(0)
    config = plain_config()
    if class_weight is not None:
        config["decode_head"]["loss_decode"] = dict(
            type="CrossEntropyLoss", class_weight=class_weight
        )
    student = MODELS.build(config).train()
    return copy.deepcopy(student).eval(), student


@pytest.mark.parametrize("statistics", ["running", "batch"])
@pytest.mark.parametrize("undo", [False, True])
def test_views_against_one_pass_each(statistics, undo):
    teacher, student = networks(WEIGHTS)
    images = torch.randn(2, 3, SIZE, SIZE)
    before = {name: value.clone() for name, value in teacher.named_buffers()}
    chosen = TeacherPrediction(
        statistics=statistics, flip=True, scales=(0.75, 1.0), undo_class_weights=undo
    )
    with torch.no_grad():
        found = chosen.probabilities(teacher, student, images)
    assert all(torch.equal(v, before[name]) for name, v in teacher.named_buffers())
    naive = copy.deepcopy(teacher).train(statistics == "batch")
    total = torch.zeros(2, CLASSES, SIZE, SIZE)
    with torch.no_grad():
        for size in (SIZE * 3 // 4, SIZE):
            for mirrored in (False, True):
                view = F.interpolate(images, (size, size), mode="bilinear")
                view = view.flip(3) if mirrored else view
                logits = naive.decode_head(naive.extract_feat(view))
                full = F.interpolate(logits, (SIZE, SIZE), mode="bilinear", align_corners=False)
                total += full.flip(3).softmax(1) if mirrored else full.softmax(1)
    wanted = total / 4
    if undo:
        wanted = wanted / torch.tensor(WEIGHTS)[:, None, None]
        wanted = wanted / wanted.sum(1, keepdim=True)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)


def test_class_weights_that_are_not_there():
    teacher, student = networks()
    chosen = TeacherPrediction(undo_class_weights=True)
    with pytest.raises(ValueError, match="trained without class weights"):
        chosen.probabilities(teacher, student, torch.randn(1, 3, SIZE, SIZE))


@pytest.mark.parametrize(
    "options", [dict(statistics="layer"), dict(scales=()), dict(scales=(1.0, 0.0))]
)
def test_values_out_of_range(options):
    with pytest.raises(ValueError, match="found"):
        TeacherPrediction(**options)
    with pytest.raises(ValueError, match="found"):
        HOOKS.build(dict(type="MeanTeacherHook", **options))


def test_no_view():
    with pytest.raises(ValueError, match="one positive scale or more"):
        average_over_views(lambda view: view, torch.zeros(1, 3, 4, 4), flip=False, scales=())


def test_the_hook_tells_the_model_how_its_teacher_predicts():
    model = MODELS.build(
        dict(
            type="UDASegmentor",
            segmentor=plain_config(),
            terms=dict(source=dict(type="SegmentationTerm", domain="source")),
        )
    )
    hook = HOOKS.build(
        ConfigDict(type="MeanTeacherHook", flip=True, scales=[0.75, 1.0], statistics="batch")
    )
    hook.before_run(SimpleNamespace(model=model, logger=None))
    assert model.teacher_prediction == TeacherPrediction(
        statistics="batch", flip=True, scales=(0.75, 1.0)
    )
