"""DeepLab-V2 (ResNet-101), GTA5 to Cityscapes, DRSL: self-training with mode learning and mode alignment.

python tools/train.py configs/drsl/deeplabv2_gta2cs.py

Not run here on the full sets: they are not on the machine this was developed on.
"""

_base_ = ["../self_training/deeplabv2_gta2cs.py", "../_base_/methods/drsl.py"]
model = dict(
    heads=dict(mmdl=dict(type="MMDLHead", in_channels=2048, in_index="decoder", num_classes=19)),
    heads_shape_warmup=False,
    terms={{_base_.drsl_terms}},
)
default_hooks = dict(
    modes={{_base_.drsl_hook}},
    self_training=dict(labeller=dict(policy={{_base_.drsl_label_policy}})),
)
