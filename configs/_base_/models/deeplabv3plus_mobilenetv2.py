r"""DeepLabV3+ on MobileNetV2 dilated to output stride 8.

The low-level branch of the head reads output 0, the 24 channels at stride 4.

The backbone starts at random. ImageNet weights of torchvision or timm, downloaded by the user and
converted by tools/model_converters/convert_backbone.py SRC --arch mobilenet_v2 --out FILE, are given
with
    --cfg-options model.segmentor.backbone.init_cfg.type=Pretrained \
        model.segmentor.backbone.init_cfg.checkpoint=FILE

BN runs on any device; on several GPUs the runner setting sync_bn='torch' converts it to SyncBN.
"""

_base_ = "adaptor.py"
norm_cfg = dict(type="BN", requires_grad=True)
model = dict(
    segmentor=dict(
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
            norm_cfg=norm_cfg,
            align_corners=False,
            loss_decode=dict(type="CrossEntropyLoss", avg_non_ignore=True),
        ),
    ),
)
