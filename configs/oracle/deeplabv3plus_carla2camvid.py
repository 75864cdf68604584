"""DeepLabV3+ (MobileNetV2), CARLA to CamVid, trained on the labeled target: the upper bound.

python tools/train.py configs/oracle/deeplabv3plus_carla2camvid.py

Measured with seed 0 on one core: mIoU 46.8 (0006R0 39.7, 0016E5 52.2), 900 steps of about 1.2 s.
"""

_base_ = [
    "../_base_/models/deeplabv3plus_mobilenetv2_in1k.py",
    "../_base_/pairs/carla2camvid.py",
    "../_base_/methods/source_only.py",
]
title = "Oracle"
model = {**_base_.method, **_base_.pair_model}
default_hooks = dict(_base_.runtime_hooks, _delete_=True)
train_dataloader = dict(
    dataset=dict(_delete_=True, type="TwoDomainDataset", source=_base_.oracle_dataset)
)
