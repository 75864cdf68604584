"""DeepLabV3+ (MobileNetV2), CARLA to CamVid, DRSL: self-training with mode learning and mode alignment.

python tools/train.py configs/drsl/deeplabv3plus_carla2camvid.py

Measured with seed 0 on one core: without the teacher (tools/run_benchmark.py) mIoU 37.3 (0006R0 33.6, 0016E5 38.0); with it
and hidden_channels=256 36.8 (33.4, 37.6). 900 steps of about 1.3 s and two labellings of a minute.
"""

_base_ = [
    "../self_training/deeplabv3plus_carla2camvid.py",
    "../_base_/methods/drsl.py",
]
model = dict(
    heads=dict(
        mmdl=dict(
            type="MMDLHead",
            in_channels=128,
            in_index="decoder",
            hidden_channels=128,
            num_classes=10,
        )
    ),
    heads_shape_warmup=False,
    terms={{_base_.drsl_terms}},
)
default_hooks = dict(
    modes=dict(type="ModeMaintenanceHook", kmeans_iteration=200, interval=0),
    self_training=dict(labeller=dict(policy={{_base_.drsl_label_policy}})),
)
