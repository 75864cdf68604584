"""DeepLabV3+ (ResNet-50), GTA5 to Cityscapes, Seg-Uncertainty: self-training rectified by two classifiers.

python tools/train.py configs/seg_uncertainty/deeplabv3plus_gta2cs.py

Warm-up, steps, mixture of the batches and pseudo labels are those of the self-training twin.
Not run here: needs the full sets.
"""

_base_ = ["../self_training/deeplabv3plus_gta2cs.py", "../_base_/methods/seg_uncertainty.py"]
model = dict(
    heads=dict(
        auxiliary=dict(
            _base_.auxiliary_head,
            in_channels=1024,
            in_index=2,
            num_classes=19,
        )
    ),
    heads_shape_warmup=False,
    terms=dict(_base_.seg_uncertainty_terms, _delete_=True),
)
