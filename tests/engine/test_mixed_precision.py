import pytest
from mmengine.config import ConfigDict

from mmdrsl.engine import launch

ONE = dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=0.1))


def test_no_gpu_is_said_before_anything_is_built(monkeypatch):
    monkeypatch.setattr(launch, "get_device", lambda: "cpu")
    with pytest.raises(ValueError, match="--amp needs a GPU"):
        launch.use_mixed_precision(ConfigDict(ONE))


def test_one_optimizer_and_several(monkeypatch):
    monkeypatch.setattr(launch, "get_device", lambda: "cuda")
    one = ConfigDict(ONE)
    launch.use_mixed_precision(one)
    assert one == dict(ONE, type="AmpOptimWrapper", loss_scale="dynamic")
    # MMEngine's default type may be left out.
    untyped = ConfigDict(optimizer=ONE["optimizer"])
    launch.use_mixed_precision(untyped)
    assert untyped == one
    several = ConfigDict(
        constructor="mmagic.MultiOptimWrapperConstructor",
        generators=ONE,
        discriminators=dict(ONE, loss_scale=512.0),
    )
    launch.use_mixed_precision(several)
    assert several == dict(
        constructor="mmagic.MultiOptimWrapperConstructor",
        generators=dict(ONE, type="AmpOptimWrapper", loss_scale="dynamic"),
        discriminators=dict(ONE, type="AmpOptimWrapper", loss_scale=512.0),
    )
    with pytest.raises(ValueError, match="found ApexOptimWrapper"):
        launch.use_mixed_precision(ConfigDict(ONE, type="ApexOptimWrapper"))
