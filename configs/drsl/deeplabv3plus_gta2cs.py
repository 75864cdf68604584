"""DeepLabV3+ (ResNet-50), GTA5 to Cityscapes, DRSL: self-training with mode learning and mode alignment.

python tools/train.py configs/drsl/deeplabv3plus_gta2cs.py

Not run here: needs the full sets. Expected (estimate_cost.py, not measured): tensors of 13.5 GiB, 4.1 hours of operations
at 20 TFLOP/s.
"""

_base_ = ["../self_training/deeplabv3plus_gta2cs.py", "../_base_/methods/drsl.py"]
model = dict(
    heads=dict(mmdl=dict(type="MMDLHead", in_channels=512, in_index="decoder", num_classes=19)),
    heads_shape_warmup=False,
    terms={{_base_.drsl_terms}},
)
default_hooks = dict(
    modes={{_base_.drsl_hook}},
    self_training=dict(labeller=dict(policy={{_base_.drsl_label_policy}})),
)
