"""DeepLabV3+ (ResNet-50), GTA5, SYNTHIA and UrbanSyn to Cityscapes, DRSL: self-training with mode learning and mode alignment.

python tools/train.py configs/drsl/deeplabv3plus_gta_synthia_urbansyn2cs.py

Not run here: needs the full sets. Expected (estimate_cost.py, not measured): tensors of 13.5 GiB, 4.1 hours of
operations at 20 TFLOP/s.
"""

_base_ = [
    "../_base_/models/deeplabv3plus_r50.py",
    "../_base_/pairs/gta_synthia_urbansyn2cs.py",
    "../_base_/methods/drsl.py",
]
model = {**_base_.method, **_base_.pair_model}
default_hooks = _base_.method_hooks
