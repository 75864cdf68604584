"""DeepLabV3+ (MobileNetV2), streets to Cityscapes, DRSL beside MIC: modes weigh the source's pixels.

python tools/train.py configs/drsl_mic/deeplabv3plus_streets2cs.py

Measured with three seeds on one core in bfloat16 (docs/streets2cs.md): mean of Zurich and Frankfurt 36.2 ± 0.0
(36.2, 36.2). 19 to 30 minutes after a shared warm-up of 32 to 42, beside other work.
"""

_base_ = [
    "../_base_/models/deeplabv3plus_mobilenetv2_in1k.py",
    "../_base_/pairs/streets2cs.py",
    "../_base_/methods/drsl_mic_short.py",
]
model = {**_base_.method, **_base_.pair_model}
default_hooks = _base_.method_hooks
