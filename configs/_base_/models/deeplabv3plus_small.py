"""DeepLabV3+ on a narrow ResNet-18 at output stride 8, for training from scratch on two CPU cores.

For the procedural scenes and quick trials: 16 to 128 backbone channels instead of 64 to 512, and
dilations that suit images of 128 x 256 pixels.

BN runs on any device; on several GPUs the runner setting sync_bn='torch' converts it to SyncBN.
"""

_base_ = "adaptor.py"
norm_cfg = dict(type="BN", requires_grad=True)
model = dict(
    segmentor=dict(
        backbone=dict(
            type="ResNet",
            depth=18,
            stem_channels=16,
            base_channels=16,
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
            in_channels=128,
            in_index=3,
            channels=64,
            dilations=(1, 4, 8),
            c1_in_channels=16,
            c1_channels=24,
            dropout_ratio=0.1,
            norm_cfg=norm_cfg,
            align_corners=False,
            loss_decode=dict(type="CrossEntropyLoss", avg_non_ignore=True),
        ),
    ),
)
