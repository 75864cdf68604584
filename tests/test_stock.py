"""Models of stock configs, as an adaptation takes them."""

import pytest
from mmengine.config import Config
from mmseg.registry import MODELS

from mmdrsl.models.segmentors.completion import heads_of
from mmdrsl.stock import ZOO, stock_model

FCN = "fcn/fcn_r50-d8_4xb4-80k_ade20k-512x512.py"
STDC = "stdc/stdc1_4xb12-80k_cityscapes-512x1024.py"
SPACE = dict(name="two", classes=["road", "sky"], palette=[[1, 1, 1], [2, 2, 2]])


def norms(part):
    if isinstance(part, dict):
        if "BN" in str(part.get("type")):
            yield part["type"]
        part = part.values()
    elif not isinstance(part, list | tuple):
        return
    for each in part:
        yield from norms(each)


@pytest.mark.parametrize(("name", "norm"), [(FCN, "SyncBN"), (STDC, "BN")])
def test_the_pair_says_the_classes_and_any_device_normalizes(name, norm):
    model = stock_model(f"mmseg::{name}")
    stock = Config.fromfile(ZOO / name).model
    assert norm in set(norms(stock.to_dict()))
    assert set(norms(model)) == {"BN"}
    assert model["data_preprocessor"]["mean"] == stock.data_preprocessor.mean
    assert model["data_preprocessor"]["size_divisor"] == 32
    built = MODELS.build(dict(model, label_space=SPACE))
    assert built.num_classes == 2
    segmentor = built.segmentor
    assert type(segmentor.decode_head).__name__ == stock.decode_head.type
    assert segmentor.decode_head.in_channels == stock.decode_head.in_channels


def test_a_head_of_boundaries_keeps_its_classes():
    heads = list(heads_of(stock_model(f"mmseg::{STDC}")["segmentor"]))
    assert {head["type"]: head.get("num_classes") for head in heads} == dict(
        FCNHead=None, STDCHead=2
    )


def test_a_file_is_taken_as_well(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(f"_base_ = {str(ZOO / FCN)!r}\nmodel = dict(backbone=dict(depth=101))\n")
    assert stock_model(str(path))["segmentor"]["backbone"]["depth"] == 101


def test_what_is_no_config_of_a_model_is_named(tmp_path):
    path = tmp_path / "data.py"
    path.write_text("data_root = 'x'\n")
    with pytest.raises(ValueError, match=r"data\.py has no model"):
        stock_model(str(path))
    with pytest.raises(FileNotFoundError, match=r"fcn/none\.py"):
        stock_model("mmseg::fcn/none.py")
