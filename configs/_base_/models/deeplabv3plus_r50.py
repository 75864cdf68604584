r"""DeepLabV3+ on ResNet-50 (V1, as in torchvision) dilated to output stride 8.

The backbone starts at random. ImageNet weights of torchvision or timm, downloaded by the user and
converted by tools/model_converters/convert_backbone.py SRC --arch resnet50 --out FILE, are given
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
            type="ResNet",
            depth=50,
            num_stages=4,
            out_indices=(0, 1, 2, 3),
            dilations=(1, 1, 2, 4),
            strides=(1, 2, 1, 1),
            norm_cfg=norm_cfg,
            norm_eval=False,
            style="pytorch",
            contract_dilation=True,
            pretrained=None,
        ),
        decode_head=dict(
            type="DepthwiseSeparableASPPHead",
            in_channels=2048,
            in_index=3,
            channels=512,
            dilations=(1, 12, 24, 36),
            c1_in_channels=256,
            c1_channels=48,
            dropout_ratio=0.1,
            norm_cfg=norm_cfg,
            align_corners=False,
            loss_decode=dict(type="CrossEntropyLoss", avg_non_ignore=True),
        ),
    ),
)
