"""Small DeepLabV3+ from scratch on the procedural scenes, trained on the labelled target: the upper bound.

python tools/train.py configs/oracle/deeplabv3plus_scenes2scenes.py

Measured with seed 0: mIoU 43.0, 21 above source-only. About five minutes on one core.
"""

_base_ = "../source_only/deeplabv3plus_scenes2scenes.py"
train_dataloader = dict(
    dataset=dict(_delete_=True, type="TwoDomainDataset", source={{_base_.oracle_dataset}})
)
