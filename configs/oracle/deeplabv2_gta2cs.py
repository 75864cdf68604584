"""DeepLab-V2 (ResNet-101), GTA5 to Cityscapes, trained on the labelled target: the upper bound.

python tools/train.py configs/oracle/deeplabv2_gta2cs.py

Not run here on the full sets: they are not on the machine this was developed on.
"""

_base_ = "../source_only/deeplabv2_gta2cs.py"
train_dataloader = dict(
    dataset=dict(_delete_=True, type="TwoDomainDataset", source={{_base_.oracle_dataset}})
)
