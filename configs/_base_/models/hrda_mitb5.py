"""HRDA (Hoyer et al. 2022) around DAFormer on MiT-B5; see segformer_b0.py for weights."""

_base_ = "hrda_mitb0.py"
model = dict(segmentor=dict(backbone=dict(embed_dims=64, num_layers=[3, 6, 40, 3])))
