"""DeepLabV3+ (MobileNetV2), CARLA to CamVid, class-balanced self-training without MRKLD (CBST).

python tools/train.py configs/self_training/deeplabv3plus_carla2camvid_plain.py

Not run here yet.
"""

_base_ = "deeplabv3plus_carla2camvid.py"
model = dict(
    terms=dict(
        _delete_=True,
        source=_base_.model.terms.source,
        target=_base_.model.terms.target,
    )
)
