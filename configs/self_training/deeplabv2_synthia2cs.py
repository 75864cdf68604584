"""DeepLab-V2 (ResNet-101), SYNTHIA to Cityscapes, class-balanced self-training.

python tools/train.py configs/self_training/deeplabv2_synthia2cs.py

Not run here on the full sets: they are not on the machine this was developed on.
"""

_base_ = ["../source_only/deeplabv2_synthia2cs.py", "../_base_/methods/self_training.py"]
model = dict(terms={{_base_.self_training_terms}})
default_hooks = dict(
    self_training=dict(
        type="SelfTrainingHook",
        warmup_iterations={{_base_.warmup_iterations}},
        rounds={{_base_.rounds}},
        labeller=dict(flip=True, spool_stride=4),
        pipeline={{_base_.labelling_pipeline}},
        num_workers=2,
    )
)
