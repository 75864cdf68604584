"""Switches of batch normalization say so where a network has none."""

import logging
from types import SimpleNamespace

import pytest
from mmengine.logging import MessageHub, MMLogger
from tiny_adaptor import build, plain_config

from mmdrsl.engine.hooks import AdaBNHook, MeanTeacherHook, TestTimeBNHook


def segmentor(norm):
    config = plain_config()
    for part in (config["backbone"], config["decode_head"]):
        part["norm_cfg"] = norm
    return config


WITHOUT = dict(type="GN", num_groups=2)
WITH = dict(type="BN")


@pytest.fixture
def warnings():
    lines = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: lines.append(record.getMessage())
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    yield lines
    logger.removeHandler(handler)


def runner_of(model):
    return SimpleNamespace(
        model=model,
        logger=MMLogger.get_current_instance(),
        iter=0,
        train_dataloader=SimpleNamespace(dataset=SimpleNamespace(domains=dict(target=[0, 1]))),
        message_hub=MessageHub.get_instance("without batch norm"),
    )


@pytest.mark.parametrize("bn_mode", ["separate", "domain_specific", "frozen"])
def test_the_model_warns(bn_mode, warnings):
    build(segmentor=segmentor(WITH), bn_mode=bn_mode)
    build(segmentor=segmentor(WITHOUT))
    assert warnings == []
    build(segmentor=segmentor(WITHOUT), bn_mode=bn_mode)
    (line,) = warnings
    assert f"bn_mode={bn_mode!r} changes nothing of the segmentor: ResNet" in line


def test_adabn_warns(warnings):
    AdaBNHook().before_train(runner_of(build(segmentor=segmentor(WITH))))
    assert warnings == []
    AdaBNHook().before_train(runner_of(build(segmentor=segmentor(WITHOUT))))
    assert len(warnings) == 1
    assert "AdaBNHook changes nothing of the segmentor" in warnings[0]


def test_frozen_layers_count_as_none(warnings):
    frozen = segmentor(WITH)
    frozen["backbone"]["norm_eval"] = True
    frozen["decode_head"]["norm_cfg"] = WITHOUT
    AdaBNHook().before_train(runner_of(build(segmentor=frozen)))
    assert len(warnings) == 1


def test_a_teacher_of_batch_statistics_warns(warnings):
    hook = MeanTeacherHook(statistics="batch")
    hook.before_run(runner_of(build(segmentor=segmentor(WITH))))
    MeanTeacherHook().before_run(runner_of(build(segmentor=segmentor(WITHOUT))))
    assert warnings == []
    hook.before_run(runner_of(build(segmentor=segmentor(WITHOUT))))
    assert len(warnings) == 1
    assert "statistics='batch', which changes nothing" in warnings[0]


def test_statistics_at_test_time_are_an_error():
    hook = TestTimeBNHook(dataset=dict(type="UnlabelledDataset"))
    with pytest.raises(ValueError, match="ResNet and its heads have no batch normalization"):
        hook.before_test(runner_of(build(segmentor=segmentor(WITHOUT))))
