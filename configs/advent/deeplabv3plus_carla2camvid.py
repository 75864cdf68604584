"""DeepLabV3+ (MobileNetV2), CARLA to CamVid, AdvEnt: adversarial alignment of the entropy of two outputs.

python tools/train.py configs/advent/deeplabv3plus_carla2camvid.py

Warm-up, steps, mixture of the batches and teacher are those of the self-training twin; no pseudo labels are made.
Measured with seed 0 and without the averaged teacher (tools/run_benchmark.py) on one core:
mIoU 36.8 (0006R0 34.0, 0016E5 37.9), 900 steps of about 1.3 s.
"""

_base_ = [
    "../self_training/deeplabv3plus_carla2camvid.py",
    "../_base_/methods/advent.py",
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
    discriminators=dict(
        output=dict(type="DomainDiscriminator", in_channels=10),
        auxiliary=dict(type="DomainDiscriminator", in_channels=10),
    ),
    terms=dict(_base_.advent_terms, _delete_=True),
)
default_hooks = dict(self_training=dict(online=True))
