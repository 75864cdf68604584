"""Small DeepLabV3+ from scratch, the procedural scenes, DRSL at every step, beside MIC.

python tools/train.py configs/drsl_mic/deeplabv3plus_scenes2scenes.py

Not run here yet.
"""

_base_ = [
    "../_base_/models/deeplabv3plus_small.py",
    "../_base_/pairs/scenes2scenes.py",
    "../_base_/methods/drsl_mic_short.py",
]
model = {**_base_.method, **_base_.pair_model}
default_hooks = _base_.method_hooks
