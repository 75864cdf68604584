"""HRDA (Hoyer et al. 2022) around DAFormer on MiT-B0; see segformer_b0.py for weights and norms.

The details come from windows of half the side of the crops.
"""

_base_ = "daformer_mitb0.py"
model = dict(
    segmentor=dict(
        type="HRDASegmentor",
        # As published: a 1 x 1 convolution in place of the dilated ones.
        scale_attention=dict(dilations=()),
        detail_weight=0.1,
    ),
)
