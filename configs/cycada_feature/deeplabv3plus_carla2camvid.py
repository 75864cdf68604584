"""DeepLabV3+ (MobileNetV2), CARLA to CamVid, CyCADA's feature level alone: original images, class scores aligned.

python tools/train.py configs/cycada_feature/deeplabv3plus_carla2camvid.py

Warm-up, steps, mixture of the batches and teacher are those of the self-training twin; no pseudo labels are made.
Measured with seed 0 and without the averaged teacher (tools/run_benchmark.py) on one core: mIoU 28.0
(0006R0 32.3, 0016E5 23.4), 900 steps of about 1.2 s.
"""

_base_ = [
    "../self_training/deeplabv3plus_carla2camvid.py",
    "../_base_/methods/cycada_feature.py",
]
model = dict(
    # No label holds the target: in the statistics of the batch it would move what the source taught.
    normalisation="frozen",
    discriminators=dict(scores=dict(_base_.score_discriminator, in_channels=10)),
    terms=dict(_base_.cycada_feature_terms, _delete_=True),
)
default_hooks = dict(self_training=dict(online=True))
