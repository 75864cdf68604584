"""DeepLabV3+ (MobileNetV2), CARLA to CamVid, AdaptSegNet: adversarial alignment of the output, one level.

python tools/train.py configs/adaptsegnet/deeplabv3plus_carla2camvid.py

Warm-up, steps, mixture of the batches and teacher are those of the self-training twin; no pseudo labels are made.
Measured with seed 0 and without the averaged teacher (tools/run_benchmark.py) on one core: mIoU 35.0
(0006R0 33.5, 0016E5 35.4), 900 steps of about 1.2 s; with normalisation="joint" 26.8.
"""

_base_ = [
    "../self_training/deeplabv3plus_carla2camvid.py",
    "../_base_/methods/adaptsegnet.py",
]
model = dict(
    # No label holds the target: in the statistics of the batch it would move what the source taught.
    normalisation="frozen",
    discriminators=dict(
        output=dict(type="DomainDiscriminator", in_channels=10),
    ),
    terms=dict(_base_.adaptsegnet_terms, _delete_=True),
)
default_hooks = dict(self_training=dict(online=True))
