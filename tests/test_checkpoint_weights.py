"""Weights that fit a model, and those that do not."""

from collections import OrderedDict

import pytest
import tiny_adaptor
import torch
from mmseg.registry import MODELS
from torch import nn

from mmdrsl.checkpoint_weights import load_weights, part_of, predicts, weights_of

ALL_PARTS = ("heads", "discriminators", "terms", "teacher", "auxiliary_head")


def plain(seed=0, **options):
    torch.manual_seed(seed)
    return MODELS.build(tiny_adaptor.plain_config(**options))


def changed(model):
    """Copies of a model's weights, none of which is that of a fresh model."""
    return OrderedDict((name, value.clone() + 1) for name, value in model.state_dict().items())


def test_parts_are_told_apart():
    named = {
        "backbone.conv1.weight": None,
        "segmentor.decode_head.conv_seg.bias": None,
        "auxiliary_head.0.conv_seg.bias": "auxiliary_head",
        "segmentor.auxiliary_head.conv_seg.bias": "auxiliary_head",
        "heads.mmdl.representatives": "heads.mmdl",
        "discriminators.scores.0.weight": "discriminators.scores",
        "teacher.module.heads.mmdl.representatives": "teacher",
    }
    for name, part in named.items():
        assert part_of(name) == part
        assert predicts(name) is (part is None)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_what_fits_is_loaded(prefix):
    adaptor, segmentor = tiny_adaptor.build(), plain()
    for model, weights in (
        (adaptor, changed(adaptor)), (segmentor, changed(segmentor)), (adaptor, changed(segmentor)),
    ):  # fmt: skip
        state = {prefix + name: value for name, value in weights.items()}
        load_weights(
            model, weights_of(dict(state_dict=state), "a.pth"), source="a.pth", separable=ALL_PARTS
        )
        own = model.state_dict()
        for name, value in weights.items():
            name = name if name in own else f"segmentor.{name}"
            assert torch.equal(own[name], value)


def refused(model, weights, message, **options):
    with pytest.raises(ValueError, match=message) as caught:
        load_weights(model, weights, source="a.pth", **options)
    assert "a.pth" in str(caught.value)
    return str(caught.value)


def test_what_is_missing_unexpected_or_of_another_shape_is_named():
    model = plain()
    weights = changed(model)
    del weights["decode_head.conv_seg.bias"], weights["backbone.bn1.num_batches_tracked"]
    weights["backbone.conv1.weight"] = torch.zeros(2)
    weights["backbone.conv99.weight"] = torch.zeros(2)
    message = refused(model, weights, "does not fit the model", separable=ALL_PARTS)
    assert "1 missing (decode_head.conv_seg.bias)" in message
    assert "1 unexpected (backbone.conv99.weight)" in message
    assert "1 of another shape (backbone.conv1.weight (2) instead of (4, 3, 7, 7))" in message


def test_parts_begin_anew_or_are_passed_over_as_a_whole_alone():
    adaptor, segmentor = tiny_adaptor.build(), plain(auxiliary=True)
    both = changed(adaptor)
    load_weights(segmentor, changed(plain()), source="a.pth", separable=ALL_PARTS)
    load_weights(
        adaptor, {**both, "heads.other.weight": torch.ones(1)}, source="a.pth", separable=ALL_PARTS
    )
    # Without being named they have to be there.
    refused(segmentor, changed(plain()), r"missing \(auxiliary_head")
    refused(adaptor, {**both, "heads.other.weight": torch.ones(1)}, r"unexpected \(heads\.other")
    # Half a part is a damaged file.
    half = {name: value for name, value in both.items() if name != "heads.mmdl.representatives"}
    refused(adaptor, half, r"1 missing \(heads\.mmdl\.representatives", separable=ALL_PARTS)
    # What is not used may be anything.
    other = dict(both, **{"heads.mmdl.representatives": torch.ones(1)})
    refused(adaptor, other, "of another shape", separable=ALL_PARTS)
    for weights in (half, other, {**both, "heads.other.weight": torch.ones(1)}):
        load_weights(adaptor, weights, source="a.pth", used=predicts)


def test_listed_weights_start_anew():
    model, trained = plain(), changed(plain())
    trained["decode_head.conv_seg.weight"] = torch.zeros(7, 8, 1, 1)
    trained["decode_head.conv_seg.bias"] = torch.zeros(7)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    load_weights(model, trained, source="a.pth", anew=["decode_head.conv_seg"])
    after = model.state_dict()
    assert torch.equal(after["decode_head.conv_seg.bias"], before["decode_head.conv_seg.bias"])
    assert torch.equal(after["backbone.conv1.weight"], trained["backbone.conv1.weight"])
    adaptor = tiny_adaptor.build()
    load_weights(
        adaptor, trained, source="a.pth", anew=["decode_head.conv_seg."], separable=ALL_PARTS
    )
    # A prefix ends at the end of a word.
    with pytest.raises(ValueError, match=r"load_from_without names \['decode_head.conv'\]"):
        load_weights(model, trained, source="a.pth", anew=["decode_head.conv"])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(value):
    model = plain(auxiliary=True)
    weights = changed(model)
    weights["auxiliary_head.conv_seg.bias"][0] = value
    load_weights(model, weights, source="a.pth", used=predicts)
    refused(model, weights, r"1 weights \(auxiliary_head\.conv_seg\.bias\)")


def test_an_adaptation_in_a_plain_segmentor_is_explained():
    message = refused(plain(), changed(tiny_adaptor.build()), "does not fit")
    assert "mmdrsl export" in message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "found none"),
        (dict(state_dict={}), "found none"),
        (dict(state_dict=[1]), "has a list as state_dict"),
        (dict(model=dict(w=torch.ones(1)), epoch=3), "found the keys model, epoch"),
        (dict(state_dict=dict(w=torch.ones(1), v=3)), "found v beside weights"),
    ],
)
def test_files_of_something_else_are_refused(content, message):
    with pytest.raises(ValueError, match=rf"a\.pth .*{message}"):
        weights_of(content, "a.pth")


def test_layers_know_the_version_of_their_weights():
    class Old(nn.Linear):
        _version = 2

        def _load_from_state_dict(self, state, prefix, metadata, *args):
            if metadata.get("version", 1) < 2:
                state[f"{prefix}weight"] = state.pop(f"{prefix}w")
            super()._load_from_state_dict(state, prefix, metadata, *args)

    model = nn.Sequential(Old(2, 2))
    state = OrderedDict({"module.0.w": torch.ones(2, 2), "module.0.bias": torch.ones(2)})
    state._metadata = OrderedDict({"module.0": dict(version=1)})
    load_weights(model, weights_of(dict(state_dict=state), "a.pth"), source="a.pth")
    assert bool((model[0].weight == 1).all())
