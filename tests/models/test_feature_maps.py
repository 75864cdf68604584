"""Feature maps for further heads: backbone's and decode head's, without a second pass."""

import pytest
import torch
from mmseg.registry import MODELS

from mmdrsl.models.feature_maps import (
    FeatureMaps,
    choose_map,
    decode,
    feature_maps,
    with_decoder_map,
)
from mmdrsl.pseudo_labels.views import JointHeads

CLASSES, CHANNELS = 5, 12


def segmentor(dropout: float = 0.0, head: str = "FCNHead"):
    torch.manual_seed(0)
    return MODELS.build(
        dict(
            type="EncoderDecoder",
            backbone=dict(
                type="ResNet",
                depth=18,
                stem_channels=8,
                base_channels=8,
                out_indices=(0, 1, 2, 3),
                norm_cfg=dict(type="BN"),
            ),
            decode_head=dict(
                type=head,
                in_channels=64,
                in_index=3,
                channels=CHANNELS,
                num_classes=CLASSES,
                dropout_ratio=dropout,
                norm_cfg=dict(type="BN"),
            ),
        )
    )


def mode_head(**changes):
    settings = dict(
        type="MMDLHead",
        in_channels=CHANNELS,
        in_index="decoder",
        num_classes=CLASSES,
        hidden_channels=8,
        embedding_dim=4,
    )
    return MODELS.build({**settings, **changes})


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_the_classifier_applied_to_the_decoder_map_gives_the_logits(dropout: float):
    model = segmentor(dropout).eval()
    images = torch.randn(2, 3, 64, 64)
    decoded = decode(model, model.extract_feat(images))
    logits, maps = decoded.logits, decoded.maps
    assert maps.decoder is not None
    assert maps.decoder.shape[:2] == (2, CHANNELS)
    assert torch.equal(model.decode_head.conv_seg(maps.decoder), logits)
    assert len(maps) == 4
    assert not (model.decode_head.dropout or model.decode_head.conv_seg)._forward_pre_hooks


def test_the_decoder_map_is_taken_before_the_dropout():
    model = segmentor(0.9).train()
    model.decode_head.convs.eval()
    model.backbone.eval()
    images = torch.randn(2, 3, 64, 64)
    first, second = (feature_maps(model, images).decoder for _ in range(2))
    assert torch.equal(first, second)


def test_recording_changes_neither_logits_nor_the_random_stream():
    images = torch.randn(2, 3, 64, 64)
    model = segmentor(0.5).train()
    torch.manual_seed(1)
    plain = model.decode_head(model.extract_feat(images))
    state = torch.get_rng_state()
    torch.manual_seed(1)
    logits = decode(model, model.extract_feat(images)).logits
    assert torch.equal(plain, logits)
    assert torch.equal(state, torch.get_rng_state())


def test_a_mode_loss_on_the_decoder_map_reaches_decoder_and_backbone_but_not_the_classifier():
    model, head = segmentor().train(), mode_head()
    head(feature_maps(model, torch.randn(2, 3, 64, 64)))[:, 0].sum().backward()
    assert model.decode_head.convs[0].conv.weight.grad.abs().sum() > 0
    assert model.backbone.conv1.weight.grad.abs().sum() > 0
    assert model.decode_head.conv_seg.weight.grad is None


def test_parts_and_detached_maps_keep_the_decoder_map():
    maps = FeatureMaps(
        [torch.arange(3.0, requires_grad=True)], torch.arange(3.0, 6.0, requires_grad=True)
    )
    part = maps.part(slice(1, None))
    assert torch.equal(part[0], torch.tensor([1.0, 2.0]))
    assert torch.equal(choose_map(part, "decoder"), torch.tensor([4.0, 5.0]))
    assert torch.equal(choose_map(part, -1), part[0])
    detached = maps.detach()
    assert not detached[0].requires_grad
    assert not choose_map(detached, "decoder").requires_grad


def test_a_head_without_the_decoder_map_says_what_to_do():
    with pytest.raises(ValueError, match=r"in_index='decoder'.*number of a feature map"):
        mode_head()([torch.randn(1, CHANNELS, 4, 4)])
    with pytest.raises(ValueError, match="expects 7 channels, found 12"):
        mode_head(in_channels=7)(FeatureMaps([], torch.randn(1, CHANNELS, 4, 4)))


def test_labeling_reads_the_same_posterior_as_training():
    model, head = segmentor().eval(), mode_head().eval()
    images = torch.randn(1, 3, 64, 64)
    joint = JointHeads(model, "mmdl", torch.nn.ModuleDict(dict(mmdl=head)))
    metas = [dict(ori_shape=(64, 64), img_shape=(64, 64), pad_shape=(64, 64))]
    logits = joint.encode_decode(images, metas)
    posterior = head.log_posterior(head(feature_maps(model, images)))
    posterior = torch.nn.functional.interpolate(posterior, size=(64, 64), mode="bilinear")
    torch.testing.assert_close(logits[:, CLASSES:], posterior)


def test_drsl_head_embeds_what_its_classifier_reads():
    torch.manual_seed(0)
    inner = dict(
        type="FCNHead", in_channels=16, channels=CHANNELS, num_classes=CLASSES, dropout_ratio=0.3
    )
    head = MODELS.build(
        dict(
            type="DRSLHead",
            decode_head=inner,
            mmdl_head=dict(
                type="MMDLHead",
                in_channels=CHANNELS,
                in_index="decoder",
                num_classes=CLASSES,
                hidden_channels=8,
                embedding_dim=4,
            ),
        )
    ).train()
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    sample = SegDataSample(
        gt_sem_seg=PixelData(data=torch.randint(0, CLASSES, (1, 16, 16))),
        metainfo=dict(img_shape=(16, 16)),
    )
    losses = head.loss([torch.randn(1, 16, 8, 8)], [sample], {})
    losses["loss_mode_metric"].backward()
    assert head.decode_head.convs[0].conv.weight.grad.abs().sum() > 0
    assert head.decode_head.conv_seg.weight.grad is None


def test_decoder_map_of_a_head_that_drops_out_earlier_maps_too():
    head = MODELS.build(
        dict(
            type="ANNHead",
            in_channels=[8, 16],
            in_index=[0, 1],
            project_channels=4,
            channels=6,
            num_classes=3,
            dropout_ratio=0.1,
            align_corners=False,
        )
    ).eval()
    features = (torch.randn(2, 8, 16, 16), torch.randn(2, 16, 16, 16))
    with with_decoder_map(head, features) as maps:
        scores = head(features)
    assert maps.decoder.shape[1] == 6
    assert torch.equal(head.conv_seg(maps.decoder), scores)
