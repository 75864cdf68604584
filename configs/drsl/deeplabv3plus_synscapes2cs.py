"""DeepLabV3+ (ResNet-50), Synscapes to Cityscapes, DRSL: self-training with mode learning and mode alignment.

python tools/train.py configs/drsl/deeplabv3plus_synscapes2cs.py

Not run here: needs the full sets.
"""

_base_ = [
    "../_base_/models/deeplabv3plus_r50.py",
    "../_base_/pairs/synscapes2cs.py",
    "../_base_/methods/drsl.py",
]
model = {**_base_.method, **_base_.pair_model}
default_hooks = _base_.method_hooks
