"""SegFormer on MiT-B3 (Xie et al. 2021), all of it MMSegmentation's own; see segformer_b0.py for weights and norms."""

_base_ = "segformer_b0.py"
model = dict(
    segmentor=dict(
        backbone=dict(embed_dims=64, num_layers=[3, 4, 18, 3]),
        decode_head=dict(in_channels=[64, 128, 320, 512]),
    ),
)
