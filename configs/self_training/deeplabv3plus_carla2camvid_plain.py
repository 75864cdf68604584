"""DeepLabV3+ (MobileNetV2), CARLA to CamVid, class-balanced self-training without MRKLD (CBST).

python tools/train.py configs/self_training/deeplabv3plus_carla2camvid_plain.py

Measured with seed 0, labels from one scale and without the teacher (tools/run_benchmark.py) on one core: mIoU 34.5
(0006R0 32.3, 0016E5 33.6), 900 steps of about 1.2 s, two labellings.
"""

_base_ = "deeplabv3plus_carla2camvid.py"
model = dict(
    terms=dict(
        _delete_=True,
        source=_base_.model.terms.source,
        target=_base_.model.terms.target,
    )
)
