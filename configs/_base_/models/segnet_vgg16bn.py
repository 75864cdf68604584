r"""SegNet on VGG16-BN: unpooling with the encoder's indices, logits at full resolution.

Terms that read backbone features take in_index 0 to 4, the pooled outputs of stages 1 to 5 with
64, 128, 256, 512 and 512 channels at strides 2 to 32; the outputs behind them serve the decoder.

The backbone starts at random. ImageNet weights of torchvision or timm, downloaded by the user and
converted by tools/model_converters/convert_backbone.py SRC --arch vgg16_bn --out FILE, are given
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
            type="SegNetEncoder",
            width=1.0,
            norm_cfg=norm_cfg,
            norm_eval=False,
        ),
        decode_head=dict(
            type="SegNetHead",
            in_channels=(64, 128, 256, 512, 512),
            dropout_ratio=0.0,
            norm_cfg=norm_cfg,
            align_corners=False,
            loss_decode=dict(type="CrossEntropyLoss", avg_non_ignore=True),
        ),
    ),
)
