"""DeepLabV3+ (ResNet-50), GTA5 to Cityscapes, class-balanced self-training without MRKLD (CBST).

python tools/train.py configs/self_training/deeplabv3plus_gta2cs_plain.py

Not run here: needs the full sets.
"""

_base_ = "deeplabv3plus_gta2cs.py"
model = dict(
    terms=dict(
        _delete_=True,
        source=_base_.model.terms.source,
        target=_base_.model.terms.target,
    )
)
