"""DeepLabV3+ (ResNet-50), GTA5 to Cityscapes, MinEnt: entropy minimisation on the target.

python tools/train.py configs/minent/deeplabv3plus_gta2cs.py

Warm-up, steps and mixture of the batches are those of the self-training twin; no pseudo labels are made.
Not run here: needs the full sets.
"""

_base_ = ["../self_training/deeplabv3plus_gta2cs.py", "../_base_/methods/minent.py"]
model = dict(
    # No label holds the target: in the statistics of the batch it would move what the source taught.
    normalisation="frozen",
    heads=dict(
        auxiliary=dict(
            _base_.auxiliary_head,
            in_channels=1024,
            in_index=2,
            num_classes=19,
        )
    ),
    heads_shape_warmup=False,
    terms=dict(_base_.minent_terms, _delete_=True),
)
default_hooks = dict(self_training=dict(online=True))
