"""Small DeepLabV3+ from scratch on the procedural scenes, trained on the labelled target: the upper bound.

python tools/train.py configs/oracle/deeplabv3plus_scenes2scenes.py

RESULT
"""

_base_ = "../source_only/deeplabv3plus_scenes2scenes.py"
train_dataloader = dict(
    dataset=dict(_delete_=True, type="TwoDomainDataset", source={{_base_.oracle_dataset}})
)
