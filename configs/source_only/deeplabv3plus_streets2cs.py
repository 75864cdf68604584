"""DeepLabV3+ (MobileNetV2), streets to Cityscapes, trained on the source alone: the lower bound.

python tools/train.py configs/source_only/deeplabv3plus_streets2cs.py

Measured with three seeds on one core in bfloat16 (docs/streets2cs.md): mean of Zurich and Frankfurt 31.7 ± 2.3
(31.6, 31.9). 10 to 13 minutes after a shared warm-up of 32 to 42, beside other work.
"""

_base_ = [
    "../_base_/models/deeplabv3plus_mobilenetv2_in1k.py",
    "../_base_/pairs/streets2cs.py",
    "../_base_/methods/source_only.py",
]
model = {**_base_.method, **_base_.pair_model}
default_hooks = dict(_base_.runtime_hooks, _delete_=True)
