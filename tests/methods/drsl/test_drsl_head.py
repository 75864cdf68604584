import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmdrsl.methods.drsl.mmdl_head import MMDLHead

CLASSES, SIZE = 3, 64


def config(*, mmdl_classes=CLASSES, metric_weight=0.1):
    return dict(
        type="EncoderDecoder",
        data_preprocessor=dict(type="SegDataPreProcessor", mean=[100.0] * 3, std=[50.0] * 3,
                               size=(SIZE, SIZE)),
        backbone=dict(
            type="ResNet", depth=18, stem_channels=4, base_channels=4, strides=(1, 2, 1, 1),
            dilations=(1, 1, 2, 4), norm_cfg=dict(type="BN"), norm_eval=False,
        ),
        decode_head=dict(
            type="DRSLHead",
            metric_weight=metric_weight,
            decode_head=dict(
                type="FCNHead", in_channels=32, in_index=3, channels=8, num_convs=1,
                num_classes=CLASSES, dropout_ratio=0, align_corners=False,
                loss_decode=dict(type="CrossEntropyLoss", avg_non_ignore=True),
            ),
            mmdl_head=dict(type="MMDLHead", in_channels=32, num_classes=mmdl_classes,
                           hidden_channels=16, embedding_dim=8),
        ),
        train_cfg=dict(),
        test_cfg=ConfigDict(mode="whole"),
    )  # fmt: skip


def build(**options):
    torch.manual_seed(0)
    return MODELS.build(config(**options))


def batch():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(CLASSES, (2, 1, SIZE, SIZE), generator=generator)
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label)) for label in labels]
    for item in samples:
        item.set_metainfo(dict(img_shape=(SIZE, SIZE), ori_shape=(SIZE, SIZE)))
    images = torch.randint(256, (2, 3, SIZE, SIZE), generator=generator, dtype=torch.uint8)
    return dict(inputs=list(images), data_samples=samples)


def test_gradients_reach_every_parameter():
    model = build()
    losses = model.loss(**model.data_preprocessor(batch(), True))
    total, log = model.parse_losses(losses)
    total.backward()
    assert set(log) == {"loss", "decode.loss_ce", "decode.acc_seg", "decode.loss_mode_metric"}
    assert log["decode.loss_mode_metric"] > 0
    assert log["loss"].item() == pytest.approx(
        (log["decode.loss_ce"] + log["decode.loss_mode_metric"]).item()
    )
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert (parameter.grad != 0).any(), name


def test_metric_weight():
    values = []
    for weight in (0.1, 0.5):
        model = build(metric_weight=weight)
        data = model.data_preprocessor(batch(), True)
        torch.manual_seed(1)
        values.append(model.loss(**data)["decode.loss_mode_metric"])
    torch.testing.assert_close(values[1], 5 * values[0])


def test_predictions_are_the_wrapped_heads():
    model = build().eval()
    wrapper = model.decode_head
    data = model.data_preprocessor(batch(), False)
    found = model.predict(**data)
    logits = model(data["inputs"])
    model.decode_head = wrapper.decode_head
    expected = model.predict(**model.data_preprocessor(batch(), False))
    torch.testing.assert_close(logits, model(data["inputs"]))
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours.pred_sem_seg.data, theirs.pred_sem_seg.data)
        assert torch.equal(ours.seg_logits.data, theirs.seg_logits.data)
    for name in ("align_corners", "num_classes", "out_channels", "threshold", "ignore_index"):
        assert getattr(wrapper, name) == getattr(wrapper.decode_head, name)


def test_class_numbers_must_agree():
    with pytest.raises(ValueError, match=r"num_classes=3 and mmdl_head num_classes=4"):
        build(mmdl_classes=4)


def test_mmdl_head_outputs():
    head = MMDLHead(in_channels=6, num_classes=4, num_modes=2, embedding_dim=5, hidden_channels=8)
    features = torch.randn(2, 6, 3, 4)
    embeddings = head([features])
    assert embeddings.shape == (2, 5, 3, 4)
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(2, 3, 4))
    torch.testing.assert_close(head.modes().norm(dim=2), torch.ones(4, 2))
    head.class_frequency.copy_(torch.tensor([0.6, 0.3, 0.09, 0.01]))
    posterior, nearest = head.log_posterior(embeddings), None
    torch.testing.assert_close(posterior.exp().sum(1), torch.ones(2, 3, 4))
    classes = torch.randint(4, (2, 3, 4))
    nearest = head.nearest_mode(embeddings, classes)
    for b in range(2):
        for y in range(3):
            for x in range(4):
                d2 = (embeddings[b, :, y, x] - head.modes()).square().sum(-1)
                mass = head.class_frequency * (-d2 / (2 * head.bandwidth**2)).exp().sum(1)
                torch.testing.assert_close(
                    posterior[b, :, y, x], (mass / mass.sum()).log(), rtol=1e-4, atol=1e-4
                )
                assert nearest[b, y, x] == d2[classes[b, y, x]].argmin()


def test_modes_of_a_class_start_near_each_other():
    torch.manual_seed(0)
    head = MMDLHead(in_channels=2, num_classes=200, num_modes=2, embedding_dim=64)
    modes = head.modes()
    own = (modes[:, 0] - modes[:, 1]).square().sum(1).mean().item()
    other = (modes[:-1, 0] - modes[1:, 0]).square().sum(1).mean().item()
    # Class vectors of deviation 0.1 plus offsets of 0.05: the cosine is 0.01 / (0.01 + 0.0025) = 0.8.
    assert own == pytest.approx(2 - 2 * 0.8, abs=0.05)
    assert other == pytest.approx(2, abs=0.05)
    torch.testing.assert_close(head.representatives.norm(dim=2), torch.ones(200, 2))


def test_class_probabilities_of_a_pixel_do_not_depend_on_size():
    head = MMDLHead(in_channels=6, num_classes=4, hidden_channels=8).eval()
    features = [torch.randn(1, 6, 3, 4)]
    same = head.class_probabilities(features, (3, 4))
    torch.testing.assert_close(same, head.log_posterior(head(features)).exp())
    larger = head.class_probabilities(features, (9, 12))
    torch.testing.assert_close(larger.sum(1), torch.ones(1, 9, 12))
    # With an odd factor the middle of a cell is a pixel of the enlarged map.
    torch.testing.assert_close(larger[..., 1::3, 1::3], same)


def test_mmdl_head_in_half_precision():
    head = MMDLHead(in_channels=6, num_classes=4, hidden_channels=8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        embeddings = head([torch.randn(2, 6, 3, 4)])
        assert embeddings.dtype == head.modes().dtype == torch.float32
        assert head.log_posterior(embeddings).dtype == torch.float32
        torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(2, 3, 4))


@pytest.mark.parametrize(
    "options",
    [dict(num_classes=0), dict(num_modes=0), dict(embedding_dim=1), dict(bandwidth=0.0)],
)
def test_mmdl_head_refuses(options):
    with pytest.raises(ValueError, match="MMDLHead needs"):
        MMDLHead(**dict(dict(in_channels=6, num_classes=4), **options))


def test_mmdl_head_names_wrong_channels():
    head = MMDLHead(in_channels=6, num_classes=4, in_index=1)
    with pytest.raises(ValueError, match="feature map 1 and expects 6 channels, found 7"):
        head([torch.zeros(1, 6, 2, 2), torch.zeros(1, 7, 2, 2)])
