"""DeepLabV3+ (MobileNetV2), CARLA to CamVid, DACS: ClassMix with an averaged teacher, online.

python tools/train.py configs/dacs/deeplabv3plus_carla2camvid.py

Warm-up, steps, mixture of the batches and evaluation are those of the self-training twin; the teacher labels every
batch anew.
Measured with seed 0 on one core by tools/run_benchmark.py, the teacher not evaluated: mIoU 33.5 (0006R0 32.1,
0016E5 33.6). A step costs two forward passes more than one of self-training, one of them without gradients.
"""

_base_ = [
    "../self_training/deeplabv3plus_carla2camvid.py",
    "../_base_/methods/dacs.py",
]
model = dict(terms=dict(_base_.dacs_terms, _delete_=True))
default_hooks = dict(
    # From the first step on, as released; the twin's begins where the warm-up ends.
    teacher=dict(_base_.dacs_teacher, begin=0),
    self_training=dict(online=True),
)
