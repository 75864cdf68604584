"""SegNet (VGG16-BN), SYNTHIA to Cityscapes, DRSL: self-training with mode learning and mode alignment.

python tools/train.py configs/drsl/segnet_synthia2cs.py

Not run here: needs the full sets. Expected (estimate_cost.py, not measured): tensors of 14.2 GiB, 4.0 hours of operations
at 20 TFLOP/s.
"""

_base_ = ["../self_training/segnet_synthia2cs.py", "../_base_/methods/drsl.py"]
model = dict(
    heads=dict(
        mmdl=dict(
            type="MMDLHead", in_channels=64, in_index="decoder", hidden_channels=64, num_classes=16
        )
    ),
    heads_shape_warmup=False,
    terms={{_base_.drsl_terms}},
)
default_hooks = dict(
    modes={{_base_.drsl_hook}},
    self_training=dict(labeller=dict(policy={{_base_.drsl_label_policy}})),
)
