"""DeepLabV3+ (MobileNetV2), CARLA to CamVid, Seg-Uncertainty: self-training rectified by two classifiers.

python tools/train.py configs/seg_uncertainty/deeplabv3plus_carla2camvid.py

Warm-up, steps, mixture of the batches, pseudo labels and teacher are those of the self-training twin.
Measured with seed 0, labels from one scale and without the averaged teacher (tools/run_benchmark.py) on one core:
mIoU 36.8 (0006R0 34.2, 0016E5 37.4), 900 steps of about 1.3 s.
"""

_base_ = [
    "../self_training/deeplabv3plus_carla2camvid.py",
    "../_base_/methods/seg_uncertainty.py",
]
model = dict(
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
    terms=dict(_base_.seg_uncertainty_terms, _delete_=True),
)
