"""FCN (ResNet-50), SYNTHIA to Cityscapes, trained on the labelled target: the upper bound.

python tools/train.py configs/oracle/fcn_synthia2cs.py

Not run here on the full sets: they are not on the machine this was developed on.
"""

_base_ = "../source_only/fcn_synthia2cs.py"
train_dataloader = dict(
    dataset=dict(_delete_=True, type="TwoDomainDataset", source={{_base_.oracle_dataset}})
)
