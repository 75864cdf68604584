"""DeepLabV3+ (MobileNetV2), CARLA to CamVid, MinEnt: entropy minimisation on the target.

python tools/train.py configs/minent/deeplabv3plus_carla2camvid.py

Warm-up, steps, mixture of the batches and teacher are those of the self-training twin; no pseudo labels are made.
Measured with seed 0 and without the averaged teacher (tools/run_benchmark.py) on one core: mIoU 36.0
(0006R0 33.8, 0016E5 37.1), 900 steps of about 1.2 s.
"""

_base_ = [
    "../self_training/deeplabv3plus_carla2camvid.py",
    "../_base_/methods/minent.py",
]
model = dict(
    # No label holds the target: in the statistics of the batch it would move what the source taught.
    normalisation="frozen",
    heads=dict(
        auxiliary=dict(
            _base_.auxiliary_head,
            in_channels=96,
            in_index=2,
            num_classes=10,
            loss_decode=dict(
                _base_.auxiliary_head["loss_decode"],
                class_weight=_base_.class_weight,
                avg_non_ignore=False,
            ),
        )
    ),
    heads_shape_warmup=False,
    terms=dict(_base_.minent_terms, _delete_=True),
)
default_hooks = dict(self_training=dict(online=True))
