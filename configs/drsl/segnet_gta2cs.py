"""SegNet (VGG16-BN), GTA5 to Cityscapes, DRSL: self-training with mode learning and mode alignment.

python tools/train.py configs/drsl/segnet_gta2cs.py

Not run here: needs the full sets. Expected (estimate_cost.py, not measured): tensors of 14.2 GiB, 4.0 hours of
operations at 20 TFLOP/s.
"""

_base_ = [
    "../_base_/models/segnet_vgg16bn.py",
    "../_base_/pairs/gta2cs.py",
    "../_base_/methods/drsl.py",
]
model = {**_base_.method, **_base_.pair_model}
default_hooks = _base_.method_hooks
