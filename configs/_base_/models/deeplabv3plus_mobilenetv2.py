r"""DeepLabV3+ on MobileNetV2 dilated to output stride 8.

The low-level branch of the head reads output 0, the 24 channels at stride 4.

The backbone starts at random. ImageNet weights of torchvision or timm, downloaded by the user and
converted by tools/model_converters/convert_backbone.py SRC --arch mobilenet_v2 --out FILE, are given
with
    --cfg-options model.segmentor.backbone.init_cfg.type=Pretrained \
        model.segmentor.backbone.init_cfg.checkpoint=FILE

BN runs on any device; on several GPUs the runner setting sync_bn='torch' converts it to SyncBN.
"""

norm_cfg = dict(type="BN", requires_grad=True)
model = dict(
    type="UDASegmentor",
    data_preprocessor=dict(
        type="UDADataPreprocessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size_divisor=8,
    ),
    segmentor=dict(
        type="EncoderDecoder",
        backbone=dict(
            type="MobileNetV2",
            widen_factor=1.0,
            strides=(1, 2, 2, 1, 1, 1, 1),
            dilations=(1, 1, 1, 2, 2, 4, 4),
            out_indices=(1, 2, 4, 6),
            norm_cfg=norm_cfg,
            norm_eval=False,
            pretrained=None,
        ),
        decode_head=dict(
            type="DepthwiseSeparableASPPHead",
            in_channels=320,
            in_index=3,
            channels=128,
            dilations=(1, 12, 24, 36),
            c1_in_channels=24,
            c1_channels=48,
            dropout_ratio=0.1,
            num_classes=19,
            norm_cfg=norm_cfg,
            align_corners=False,
            loss_decode=dict(
                type="CrossEntropyLoss", use_sigmoid=False, avg_non_ignore=True, loss_weight=1.0
            ),
        ),
        train_cfg=dict(),
        test_cfg=dict(mode="whole"),
    ),
)
