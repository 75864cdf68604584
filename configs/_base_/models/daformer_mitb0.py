"""DAFormer's decoder (Hoyer et al. 2022) on MiT-B0; see segformer_b0.py for weights and norms."""

_base_ = "segformer_b0.py"
model = dict(
    segmentor=dict(
        decode_head=dict(
            _delete_=True,
            type="DAFormerHead",
            in_index=[0, 1, 2, 3],
            channels=256,
            dilations=(1, 6, 12, 18),
            dropout_ratio=0.1,
            norm_cfg=_base_.norm_cfg,
            align_corners=False,
            loss_decode=dict(type="CrossEntropyLoss", avg_non_ignore=True),
        ),
    ),
)
