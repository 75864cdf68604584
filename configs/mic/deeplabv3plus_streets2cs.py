"""DeepLabV3+ (MobileNetV2), streets to Cityscapes, MIC: DACS and masked image consistency.

python tools/train.py configs/mic/deeplabv3plus_streets2cs.py

Measured with three seeds on one core in bfloat16 (docs/streets2cs.md): mean of Zurich and Frankfurt 36.1 ± 0.3
(36.1, 36.2). 19 to 27 minutes after a shared warm-up of 32 to 42, beside other work.
"""

_base_ = [
    "../_base_/models/deeplabv3plus_mobilenetv2_in1k.py",
    "../_base_/pairs/streets2cs.py",
    "../_base_/methods/mic.py",
]
model = {**_base_.method, **_base_.pair_model}
default_hooks = _base_.method_hooks
