"""FCN (ResNet-50), SYNTHIA to KITTI, DRSL: self-training with mode learning and mode alignment.

python tools/train.py configs/drsl/fcn_synthia2kitti.py

Not run here: needs the full sets. Expected (estimate_cost.py, not measured): tensors of 4.6 GiB, 2.4 hours of operations
at 20 TFLOP/s.
"""

_base_ = ["../self_training/fcn_synthia2kitti.py", "../_base_/methods/drsl.py"]
model = dict(
    heads=dict(mmdl=dict(type="MMDLHead", in_channels=512, in_index="decoder", num_classes=16)),
    heads_shape_warmup=False,
    terms={{_base_.drsl_terms}},
)
default_hooks = dict(
    modes={{_base_.drsl_hook}},
    self_training=dict(labeller=dict(policy={{_base_.drsl_label_policy}})),
)
