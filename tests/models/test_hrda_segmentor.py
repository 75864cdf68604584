"""HRDA's two sizes, attention and windows against loops over pixels and windows."""

import copy

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from tiny_adaptor import CLASSES, PREPROCESSOR, plain_config

from mmdrsl.export.stock_config import stock_model
from mmdrsl.models.decode_heads.hrda_head import fuse_scales
from mmdrsl.models.detail_maps import DetailMaps, sliding_boxes, with_detail
from mmdrsl.models.feature_maps import FeatureMaps, decode
from mmdrsl.models.segmentors.export import segmentor_weights

WINDOW = (32, 32)


def build(**options):
    torch.manual_seed(0)
    options = {"detail_size": WINDOW, **options}
    return MODELS.build(dict(plain_config(), type="HRDASegmentor", **options))


def up(x, size):
    return F.interpolate(x, size, mode="bilinear", align_corners=False)


def test_fused_in_training_by_loops():
    torch.manual_seed(0)
    context, detail = torch.randn(2, 3, 8, 16), torch.randn(2, 3, 8, 8)
    attention = torch.rand(2, 3, 8, 16)
    # Images of 64 x 128 and logits of stride 4; the window of 32 x 32 begins at (16, 40).
    found = fuse_scales(context, detail, attention, [(16, 48, 40, 72)], (64, 128))
    kept, shares, inserted = context.clone(), torch.zeros_like(attention), torch.zeros(2, 3, 16, 32)
    for row in range(2, 6):
        for column in range(5, 9):
            share = attention[:, :, row, column]
            shares[:, :, row, column] = share
            kept[:, :, row, column] = (1 - share) * context[:, :, row, column]
    for row in range(8):
        for column in range(8):
            inserted[:, :, 4 + row, 10 + column] = detail[:, :, row, column]
    wanted = up(kept, (16, 32)) + up(shares, (16, 32)) * inserted
    torch.testing.assert_close(found, wanted)


def test_fused_windows_by_loops():
    torch.manual_seed(0)
    boxes = sliding_boxes((64, 64), WINDOW)
    assert len(boxes) == 9
    context, detail = torch.randn(1, 2, 8, 8), torch.randn(9, 2, 8, 8)
    attention = torch.rand(1, 2, 8, 8)
    found = fuse_scales(context, detail, attention, boxes, (64, 64))
    mean = torch.zeros(1, 2, 16, 16)
    for row in range(16):
        for column in range(16):
            values = [
                window[:, row - top // 4, column - left // 4]
                for window, (top, bottom, left, right) in zip(detail, boxes, strict=True)
                if top <= 4 * row < bottom and left <= 4 * column < right
            ]
            mean[0, :, row, column] = torch.stack(values).mean(0)
    wanted = up((1 - attention) * context, (16, 16)) + up(attention, (16, 16)) * mean
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("size", [(64, 64), (37, 64), (50, 101), (30, 30)])
def test_windows_cover_every_pixel_and_end_at_the_border(size):
    window = (min(32, size[0]), min(32, size[1]))
    seen = torch.zeros(size)
    for top, bottom, left, right in sliding_boxes(size, window):
        assert (bottom - top, right - left) == window
        assert top >= 0
        assert left >= 0
        assert bottom <= size[0]
        assert right <= size[1]
        seen[top:bottom, left:right] += 1
    assert (seen > 0).all()


@pytest.mark.parametrize("size", [(64, 96), (50, 101), (24, 200)])
def test_prediction_of_any_size_is_covered_by_details(size):
    """With an attention of 1 the details alone count, and none is missing."""
    segmentor = build().eval()
    with torch.no_grad():
        segmentor.decode_head.scale_attention.conv_seg.bias.fill_(100.0)
        images = torch.randn(2, 3, *size)
        decoded = decode(segmentor, segmentor.extract_feat(images))
        logits, maps = decoded.logits, decoded.maps
        predicted = segmentor.encode_decode(images, [dict(img_shape=torch.Size(size))] * 2)
    assert predicted.shape == (2, CLASSES, *size)
    assert len(maps.detail.boxes) > 1
    assert maps.decoder.shape[0] == 2
    constant = maps.detail.logits.new_ones(maps.detail.logits.shape)
    ones = fuse_scales(
        torch.zeros(2, CLASSES, *maps.decoder.shape[2:]),
        constant,
        torch.ones(2, CLASSES, *maps.decoder.shape[2:]),
        maps.detail.boxes,
        size,
    )
    assert ones.shape == logits.shape
    torch.testing.assert_close(ones, torch.ones_like(ones))


def test_training_draws_windows_at_multiples_of_eight():
    segmentor = build().train()
    seen = set()
    for seed in range(24):
        torch.manual_seed(seed)
        box = segmentor.extract_feat(torch.randn(2, 3, 64, 48)).detail.boxes[0]
        assert (box[1] - box[0], box[3] - box[2]) == WINDOW
        seen.add((box[0], box[2]))
    assert {top for top, _ in seen} == {0, 8, 16, 24, 32}
    assert {left for _, left in seen} == {0, 8, 16}


def sample(labels):
    return SegDataSample(gt_sem_seg=PixelData(data=labels[None]), metainfo=dict(img_shape=(64, 64)))


def test_stock_training_has_both_losses():
    """The segmentor by itself, without an adaptor: 0.9 of the fused loss and 0.1 of the window's."""
    segmentor = build(detail_weight=0.1).train()
    other = copy.deepcopy(segmentor)
    images, labels = torch.randn(2, 3, 64, 64), torch.randint(CLASSES, (2, 64, 64))
    labels[:, :20] = 255
    torch.manual_seed(3)
    losses = segmentor.loss(images, [sample(each) for each in labels])
    torch.manual_seed(3)
    decoded = decode(other, other.extract_feat(images))
    logits, maps = decoded.logits, decoded.maps
    ((top, bottom, left, right),) = maps.detail.boxes
    fused = F.cross_entropy(up(logits, (64, 64)), labels, ignore_index=255)
    window = F.cross_entropy(
        up(maps.detail.logits, WINDOW), labels[:, top:bottom, left:right], ignore_index=255
    )
    torch.testing.assert_close(losses["decode.loss_ce"], 0.9 * fused)
    torch.testing.assert_close(losses["decode.detail.loss_ce"], 0.1 * window)


def test_without_a_detail_losses_stay():
    values = dict(loss_ce=torch.tensor(2.0), acc_seg=torch.tensor(50.0))
    assert with_detail(0.1, torch.zeros(1), None, lambda *_: values) == values


def test_parts_of_windows():
    boxes = [(0, 4, 0, 4), (0, 4, 4, 8)]
    # Window 0 of images 0, 1, 2, then window 1 of them.
    maps = torch.arange(6.0).reshape(6, 1, 1, 1).requires_grad_()
    detail = DetailMaps((maps,), boxes, (4, 8), logits=maps * 10)
    both = FeatureMaps([torch.arange(3.0)[:, None, None, None]], detail=detail)
    part = both.part(slice(1, 3))
    assert part.detail.maps[0].flatten().tolist() == [1, 2, 4, 5]
    assert part.detail.logits.flatten().tolist() == [10, 20, 40, 50]
    assert not both.detach().detail.maps[0].requires_grad
    assert FeatureMaps(both).detail is detail


def test_what_does_not_fit():
    head = build().decode_head
    with pytest.raises(ValueError, match="found maps without detail"):
        head((torch.randn(1, 4, 8, 8),))
    with pytest.raises(ValueError, match="detail_size must be"):
        build(detail_size=(32,))
    with pytest.raises(ValueError, match=r"detail_weight must be in \[0, 1\), found 1"):
        build(detail_weight=1.0)


def test_exported_it_predicts_the_same():
    """Windows that the adaptor filled in are in the plain config."""
    cfg = Config(
        dict(
            model=dict(
                type="UDASegmentor",
                data_preprocessor=PREPROCESSOR,
                segmentor=dict(plain_config(), type="HRDASegmentor"),
                crop_size=(64, 48),
                terms=dict(source=dict(type="SegmentationTerm", domain="source")),
            )
        )
    )
    torch.manual_seed(0)
    adaptor = MODELS.build(cfg.model).eval()
    assert adaptor.segmentor.detail_size == (32, 24)
    plain = MODELS.build(stock_model(cfg)).eval()
    plain.load_state_dict(
        segmentor_weights(adaptor.state_dict(), teacher=False, source="the adaptor")
    )
    images, metas = torch.randn(1, 3, 64, 96), [dict(img_shape=torch.Size((64, 96)))]
    with torch.no_grad():
        found, wanted = (each.encode_decode(images, metas) for each in (plain, adaptor))
    assert torch.equal(found, wanted)
