"""SegNet (VGG16-BN), GTA5 to KITTI, DRSL: self-training with mode learning and mode alignment.

python tools/train.py configs/drsl/segnet_gta2kitti.py

Not run here: needs the full sets. Expected (estimate_cost.py, not measured): tensors of 7.4 GiB, 2.1 hours of
operations at 20 TFLOP/s.
"""

_base_ = [
    "../_base_/models/segnet_vgg16bn.py",
    "../_base_/pairs/gta2kitti.py",
    "../_base_/methods/drsl.py",
]
model = {**_base_.method, **_base_.pair_model}
default_hooks = _base_.method_hooks
