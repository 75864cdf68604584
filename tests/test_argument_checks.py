"""Wrong kinds of values in configs: the class, the argument, what was found and what was expected."""

from math import nan

import numpy as np
import pytest
from mmseg.registry import DATASETS, HOOKS, MODELS

from mmdrsl.engine.round_schedule import build_phases
from mmdrsl.pseudo_labels.labeler import PseudoLabeler

ROUND = dict(iterations=2, portion=0.5, target_share=0.5)


@pytest.mark.parametrize(
    ("registry", "config", "message"),
    [
        (HOOKS, dict(type="SelfTrainingHook", rounds=[7, 7], warmup_iterations=1),
         r"SelfTrainingHook\.rounds\[0\] is 7, expected a dictionary"),
        (HOOKS, dict(type="SelfTrainingHook", rounds="two", warmup_iterations=1),
         r"SelfTrainingHook\.rounds is 'two', expected a list"),
        (HOOKS, dict(type="SelfTrainingHook", rounds=[], warmup_iterations="many"),
         r"warmup_iterations is 'many', expected an integer"),
        (HOOKS, dict(type="SelfTrainingHook", rounds=[], warmup_iterations=1.5),
         r"warmup_iterations is 1\.5, expected an integer"),
        (HOOKS, dict(type="SelfTrainingHook", rounds=[], warmup_iterations=True),
         r"warmup_iterations is True, expected an integer"),
        (HOOKS, dict(type="SelfTrainingHook", rounds=[], warmup_iterations=1, num_workers=-1),
         r"num_workers is -1, expected zero or more"),
        (HOOKS, dict(type="SelfTrainingHook", rounds=[], warmup_iterations=1, online="yes"),
         r"online is 'yes', expected True or False"),
        (HOOKS, dict(type="MeanTeacherHook", average=3),
         r"MeanTeacherHook\.average is 3, expected a dictionary or None"),
        (HOOKS, dict(type="AdaBNHook", num_images=-5), r"AdaBNHook\.num_images is -5, expected zero"),
        (HOOKS, dict(type="AdaBNHook", target_weight=nan), r"target_weight is nan, expected a number"),
        (MODELS, dict(type="SegmentationTerm", domain="source", weight="heavy"),
         r"SegmentationTerm\.weight is 'heavy', expected a number"),
        (MODELS, dict(type="SegmentationTerm", domain=1), r"domain is 1, expected a string"),
        (MODELS, dict(type="MMDLHead", in_channels="8", num_classes=3),
         r"MMDLHead\.in_channels is '8', expected an integer"),
        (DATASETS, dict(type="UnlabelledDataset", data_root=5, label_space="cityscapes19"),
         r"UnlabelledDataset\.data_root is 5, expected a string"),
    ],
)  # fmt: skip
def test_registered_classes_name_what_is_wrong(registry, config, message):
    with pytest.raises((TypeError, ValueError), match=message):
        registry.build(config)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(portion="many"), r"PseudoLabeler\.portion is 'many', expected a number or None"),
        (dict(scales=[1.0, "two"]), r"PseudoLabeler\.scales\[1\] is 'two', expected a number"),
        (dict(scales=2), r"PseudoLabeler\.scales is 2, expected a list"),
        (dict(max_cache_gigabytes=nan), r"max_cache_gigabytes is nan, expected a number"),
        (
            dict(policy=dict(lowest_threshold="low")),
            r"lowest_threshold is 'low', expected a number",
        ),
    ],
)
def test_the_labeler_names_what_is_wrong(options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        PseudoLabeler(**{"portion": 0.5, **options})


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (dict(portion="many"), r"rounds\[1\]\.portion is 'many', expected a number"),
        (dict(target_share=nan), r"rounds\[1\]\.target_share is nan, expected a number"),
        (dict(iterations=-2), r"rounds\[1\]\.iterations is -2, expected zero or more"),
        (dict(iterations="2"), r"rounds\[1\]\.iterations is '2', expected an integer"),
    ],
)
def test_rounds_name_what_is_wrong(entry, message):
    with pytest.raises((TypeError, ValueError), match=message):
        build_phases(1, [ROUND, {**ROUND, **entry}], 5)


def test_what_fits_is_taken_in_any_spelling():
    labeler = PseudoLabeler(portion=np.float32(0.5), scales=(1, 2), flip=False, prediction_stride=2)
    assert labeler.views.scales == (1, 2)
    hook = HOOKS.build(
        dict(type="SelfTrainingHook", rounds=(ROUND,), warmup_iterations=np.int64(1), pipeline=None)
    )
    assert hook.rounds == [ROUND]
    with pytest.raises(TypeError, match="unexpected keyword argument 'roundz'"):
        HOOKS.build(dict(type="SelfTrainingHook", roundz=[]))
