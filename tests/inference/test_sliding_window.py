import pytest
import torch
from mmengine.config import ConfigDict
from mmseg.registry import MODELS
from network_files import vary
from tiny_network import plain_model

from mmdrsl.inference.sliding_window import add_in_place


@pytest.fixture(scope="module")
def segmentor():
    torch.manual_seed(0)
    model = MODELS.build(plain_model())
    vary(model, seed=3)
    return model.eval()


@pytest.mark.parametrize(
    ("window", "stride"),
    [((24, 32), (16, 20)), ((24, 24), (24, 24)), ((90, 32), (90, 7)), ((80, 96), (40, 48))],
)
def test_logits_are_those_of_mmsegmentation(segmentor, window, stride, monkeypatch):
    monkeypatch.setattr(
        segmentor, "test_cfg", ConfigDict(mode="slide", crop_size=window, stride=stride)
    )
    images = torch.randn(2, 3, 80, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = segmentor.inference(images, [dict(ori_shape=(80, 96)) for _ in range(2)])
        add_in_place(segmentor)
        found = segmentor.inference(images, [dict(ori_shape=(80, 96)) for _ in range(2)])
    del segmentor.slide_inference
    assert torch.equal(found, expected)
