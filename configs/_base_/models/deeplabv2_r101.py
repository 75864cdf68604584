r"""DeepLab-V2 on ResNet-101 (V1, as in torchvision) dilated to output stride 8.

The network of the adaptation literature. The head sums all four dilated convolutions; AdaptSegNet's
release sums two.

The backbone starts at random. ImageNet weights of torchvision or timm, downloaded by the user and
converted by tools/model_converters/convert_backbone.py SRC --arch resnet101 --out FILE, are given
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
            depth=101,
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
            type="DeepLabV2Head",
            in_channels=2048,
            in_index=3,
            dilations=(6, 12, 18, 24),
            dropout_ratio=0.0,
            align_corners=False,
            loss_decode=dict(type="CrossEntropyLoss", avg_non_ignore=True),
        ),
    ),
)
