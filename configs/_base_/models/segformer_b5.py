"""SegFormer on MiT-B5 (Xie et al. 2021), all of it MMSegmentation's own; see segformer_b0.py for weights and norms.

MiT-B1 to B4 have the same widths and num_layers [2, 2, 2, 2], [3, 4, 6, 3], [3, 4, 18, 3] and [3, 8, 27, 3].
"""

_base_ = "segformer_b0.py"
model = dict(
    segmentor=dict(
        backbone=dict(embed_dims=64, num_layers=[3, 6, 40, 3]),
        decode_head=dict(in_channels=[64, 128, 320, 512]),
    ),
)
