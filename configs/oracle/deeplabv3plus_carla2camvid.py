"""DeepLabV3+ (MobileNetV2), CARLA to CamVid, trained on the labelled target: the upper bound.

python tools/train.py configs/oracle/deeplabv3plus_carla2camvid.py

Not run here yet; about 900 steps of 1.2 s on one core.
"""

_base_ = "../source_only/deeplabv3plus_carla2camvid.py"
train_dataloader = dict(
    dataset=dict(_delete_=True, type="TwoDomainDataset", source={{_base_.oracle_dataset}})
)
