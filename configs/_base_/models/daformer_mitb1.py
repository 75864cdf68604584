"""DAFormer's decoder (Hoyer et al. 2022) on MiT-B1; see segformer_b0.py for weights and norms."""

_base_ = "daformer_mitb0.py"
model = dict(segmentor=dict(backbone=dict(embed_dims=64)))
