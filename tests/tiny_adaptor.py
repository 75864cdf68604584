"""A tiny adaptor with DRSL's terms, and two-domain batches for it."""

import torch
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

CLASSES, MODES, DIM, SIZE = 3, 2, 8, 64
BANDWIDTH, MARGIN = 0.5, 0.5
PREPROCESSOR = dict(type="UDADataPreprocessor", mean=[100.0] * 3, std=[50.0] * 3, size=(SIZE, SIZE))


def plain_config(*, auxiliary=False, dropout_ratio=0.0):
    """An FCN whose feature maps have 4, 8, 16 and 32 channels."""
    head = dict(
        type="FCNHead",
        in_channels=32,
        in_index=3,
        channels=8,
        num_convs=1,
        concat_input=False,
        num_classes=CLASSES,
        dropout_ratio=dropout_ratio,
        norm_cfg=dict(type="BN"),
        align_corners=False,
        loss_decode=dict(type="CrossEntropyLoss", avg_non_ignore=True),
    )
    return dict(
        type="EncoderDecoder",
        backbone=dict(
            type="ResNet",
            depth=18,
            stem_channels=4,
            base_channels=4,
            strides=(1, 2, 1, 1),
            dilations=(1, 1, 2, 4),
            norm_cfg=dict(type="BN"),
            norm_eval=False,
        ),
        decode_head=head,
        auxiliary_head=dict(head, in_channels=16, in_index=2) if auxiliary else None,
        train_cfg=dict(),
        test_cfg=ConfigDict(mode="whole"),
    )


def _metric(domain):
    return dict(
        type="ModeMetricTerm",
        domain=domain,
        weight=0.4,
        loss=dict(
            type="ModeMetricLoss", margin=MARGIN, posterior_weight=0.5, usage_weight=0,
            spread_weight=0, max_pixels_per_class=10**6,
        ),
    )  # fmt: skip


TERMS = dict(
    source=dict(type="SegmentationTerm", domain="source"),
    target=dict(type="SegmentationTerm", domain="target", weight=0.8),
    mrkld=dict(type="ModelRegularizationTerm", weight=0.3),
    metric=_metric("source"),
    metric_target=_metric("target"),
    alignment=dict(
        type="ModeAlignmentTerm",
        weight=2.0,
        ramp_iterations=10,
        loss=dict(
            type="StochasticModeAlignmentLoss", num_pairs=6, min_pixels=4,
            max_pixels_per_class=10**6,
        ),
    ),
)  # fmt: skip


def build(seed=0, *, terms=TERMS, classes=CLASSES, segmentor=None, **options):
    """The adaptor in training mode."""
    torch.manual_seed(seed)
    mmdl = dict(
        type="MMDLHead", in_channels=32, num_classes=classes, num_modes=MODES, embedding_dim=DIM,
        hidden_channels=16, bandwidth=BANDWIDTH,
    )  # fmt: skip
    return MODELS.build(
        dict(
            type="UDASegmentor",
            data_preprocessor=PREPROCESSOR,
            segmentor=segmentor or plain_config(),
            heads=dict(mmdl=mmdl),
            **options,
            terms=terms,
        )
    ).train()


def build_drsl_segmentor(*, mmdl_classes=CLASSES, metric_weight=0.1):
    """The same segmentor with a `DRSLHead`, for training without an adaptor."""
    torch.manual_seed(0)
    config = plain_config()
    head = dict(
        type="DRSLHead",
        metric_weight=metric_weight,
        decode_head=config["decode_head"],
        mmdl_head=dict(
            type="MMDLHead", in_channels=32, num_classes=mmdl_classes, hidden_channels=16,
            embedding_dim=8,
        ),
    )  # fmt: skip
    preprocessor = dict(PREPROCESSOR, type="SegDataPreProcessor")
    return MODELS.build(dict(config, decode_head=head, data_preprocessor=preprocessor))


def sample(domain, generator):
    """Blocks of one class each; a fifth of the blocks is ignored on the target."""
    blocks = torch.randint(CLASSES, (1, 8, 8), generator=generator)
    if domain == "target":
        blocks[torch.rand(1, 8, 8, generator=generator) < 0.2] = 255
    # Shifted against the cells of the features, so that it matters which pixel stands for a cell.
    labels = blocks.repeat_interleave(8, 1).repeat_interleave(8, 2).roll((3, 3), (1, 2))
    data = SegDataSample(gt_sem_seg=PixelData(data=labels))
    data.set_metainfo(dict(domain=domain, img_shape=(SIZE, SIZE), ori_shape=(SIZE, SIZE)))
    image = torch.randint(256, (3, SIZE, SIZE), generator=generator, dtype=torch.uint8)
    return image, data


def batch(*domains, seed=0):
    """Images and labels of these domains, in this order, as a data loader gives them."""
    generator = torch.Generator().manual_seed(seed)
    items = [sample(domain, generator) for domain in domains]
    return dict(inputs=[image for image, _ in items], data_samples=[data for _, data in items])


def losses_of(model, *domains):
    """What the adaptor returns for such a batch."""
    return model.loss(**model.data_preprocessor(batch(*domains), True))
