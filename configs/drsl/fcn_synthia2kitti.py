"""FCN (ResNet-50), SYNTHIA to KITTI, DRSL: self-training with mode learning and mode alignment.

python tools/train.py configs/drsl/fcn_synthia2kitti.py

Not run here: needs the full sets. Expected (estimate_cost.py, not measured): tensors of 4.6 GiB, 2.4 hours of
operations at 20 TFLOP/s.
"""

_base_ = [
    "../_base_/models/fcn_r50.py",
    "../_base_/pairs/synthia2kitti.py",
    "../_base_/methods/drsl.py",
]
model = {**_base_.method, **_base_.pair_model}
default_hooks = _base_.method_hooks
