"""DeepLabV3+ (ResNet-50), GTA5 to Cityscapes, DACS: ClassMix with an averaged teacher, online.

python tools/train.py configs/dacs/deeplabv3plus_gta2cs.py

Warm-up, steps and mixture of the batches are those of the self-training twin; the teacher labels every batch anew.
Not run here: needs the full sets.
"""

_base_ = ["../self_training/deeplabv3plus_gta2cs.py", "../_base_/methods/dacs.py"]
model = dict(terms=dict(_base_.dacs_terms, _delete_=True))
default_hooks = dict(
    # From the first step on, as released; the student predicts, as in the twin.
    teacher=dict(_base_.dacs_teacher, begin=0),
    self_training=dict(online=True),
)
