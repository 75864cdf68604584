"""SegFormer (MiT-B5), GTA5 to Cityscapes, DRSL: self-training with mode learning and mode alignment.

python tools/train.py configs/drsl/segformer_gta2cs.py

Not run here: needs the full sets.
"""

_base_ = [
    "../_base_/models/segformer_b5.py",
    "../_base_/pairs/gta2cs.py",
    "../_base_/methods/drsl.py",
    "../_base_/schedules/transformer_optimizer.py",
]
model = {**_base_.method, **_base_.pair_model}
default_hooks = _base_.method_hooks
optim_wrapper = _base_.transformer_optim_wrapper
param_scheduler = _base_.transformer_param_scheduler
