r"""SegFormer on MiT-B0 (Xie et al. 2021), all of it MMSegmentation's own.

The backbone starts at random. ImageNet weights of the authors, downloaded by the user and converted by MMSegmentation's
tools/model_converters/mit2mmseg.py SRC FILE, are given with
    --cfg-options model.segmentor.backbone.init_cfg.type=Pretrained \
        model.segmentor.backbone.init_cfg.checkpoint=FILE

BN, in the head alone, runs on any device; on several GPUs the runner setting sync_bn='torch' converts it to SyncBN.
"""

_base_ = "adaptor.py"
norm_cfg = dict(type="BN", requires_grad=True)
model = dict(
    segmentor=dict(
        backbone=dict(
            type="MixVisionTransformer",
            in_channels=3,
            embed_dims=32,
            num_stages=4,
            num_layers=[2, 2, 2, 2],
            num_heads=[1, 2, 5, 8],
            patch_sizes=[7, 3, 3, 3],
            sr_ratios=[8, 4, 2, 1],
            out_indices=(0, 1, 2, 3),
            mlp_ratio=4,
            qkv_bias=True,
            drop_rate=0.0,
            attn_drop_rate=0.0,
            drop_path_rate=0.1,
            pretrained=None,
        ),
        decode_head=dict(
            type="SegformerHead",
            in_channels=[32, 64, 160, 256],
            in_index=[0, 1, 2, 3],
            channels=256,
            dropout_ratio=0.1,
            norm_cfg=norm_cfg,
            align_corners=False,
            loss_decode=dict(type="CrossEntropyLoss", avg_non_ignore=True),
        ),
    ),
)
