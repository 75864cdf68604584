import pytest
import torch
from mmseg.registry import MODELS
from tiny_adaptor import PREPROCESSOR, losses_of, plain_config

from mmdrsl.models.teacher_prediction import TeacherPrediction

# The whole term is replayed with DACS's in test_dacs.py.


def build(**options):
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type="UDASegmentor",
            data_preprocessor=PREPROCESSOR,
            segmentor=plain_config(),
            bn_mode="separate",
            terms=dict(
                source=dict(type="SegmentationTerm", domain="source"),
                masked=dict(type="MaskedConsistencyTerm", block_size=16, **options),
            ),
        )
    )
    model.add_teacher(dict(type="ExponentialMovingAverage", momentum=0.5))
    model.teacher.update_parameters(model.networks())
    return model.train()


def test_without_hidden_blocks_a_sure_student_agrees_with_itself():
    model = build(ratio=0.0, jitter=0.0, pseudo_threshold=0.0)
    model.teacher_prediction = TeacherPrediction(statistics="batch")
    with torch.no_grad():
        for network in (model.segmentor, model.teacher.module["segmentor"]):
            network.decode_head.conv_seg.weight.mul_(1000)
    values = losses_of(model, "source", "source", "target", "target")
    hidden = build(ratio=0.7, jitter=0.0, pseudo_threshold=0.0)
    hidden.teacher_prediction = TeacherPrediction(statistics="batch")
    with torch.no_grad():
        for network in (hidden.segmentor, hidden.teacher.module["segmentor"]):
            network.decode_head.conv_seg.weight.mul_(1000)
    masked = losses_of(hidden, "source", "source", "target", "target")
    assert values["masked.loss_masked"] < 0.5 < masked["masked.loss_masked"]


def test_masked_images_stay_out_of_the_running_statistics():
    model, plain = build(), build()
    del plain.terms["masked"]
    for each in (model, plain):
        torch.manual_seed(1)
        losses_of(each, "source", "source", "target", "target")
    plain_buffers = dict(plain.segmentor.named_buffers())
    for name, value in model.segmentor.named_buffers():
        assert torch.equal(value, plain_buffers[name]), name


def test_masked_images_are_shown_where_somebody_looks():
    model = build(ratio=0.7, jitter=0.0)
    losses_of(model, "source", "source", "target", "target")
    assert model.pictures is None
    model.pictures = {}
    losses_of(model, "source", "source", "target", "target")
    shown = model.pictures
    assert list(shown) == ["teacher's label", "teacher's confidence", "masked image"]
    assert not shown["masked image"].requires_grad
    hidden = (shown["masked image"] == 0).all(dim=1).float().mean()
    assert 0.4 < hidden < 1
    assert shown["teacher's label"].shape == shown["teacher's confidence"].shape == (2, 64, 64)


@pytest.mark.parametrize("options", [dict(ratio=1.0), dict(pseudo_threshold=1.0), dict(ratio=-0.1)])
def test_values_out_of_range(options):
    with pytest.raises(ValueError, match="found"):
        build(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(jitter=-1.0), "jitter must be in"),
        (dict(jitter=0.9), "jitter must be in"),
        (dict(weight=-3.0), "weight must be >= 0, found -3"),
        (dict(ratio=1.0), "ratio"),
    ],
)
def test_impossible_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(dict(type="MaskedConsistencyTerm", **options))
