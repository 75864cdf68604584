"""DeepLabV3+ (ResNet-50), GTA5 to Cityscapes, AdaptSegNet: adversarial alignment of the output, one level.

python tools/train.py configs/adaptsegnet/deeplabv3plus_gta2cs.py

Warm-up, steps and mixture of the batches are those of the self-training twin; no pseudo labels are made.
Not run here: needs the full sets.
"""

_base_ = ["../self_training/deeplabv3plus_gta2cs.py", "../_base_/methods/adaptsegnet.py"]
model = dict(
    # No label holds the target: in the statistics of the batch it would move what the source taught.
    normalisation="frozen",
    discriminators=dict(
        output=dict(type="DomainDiscriminator", in_channels=19),
    ),
    terms=dict(_base_.adaptsegnet_terms, _delete_=True),
)
default_hooks = dict(self_training=dict(online=True))
# SGD for the network, Adam for the discriminators, as released.
optim_wrapper = dict(optimizer=dict(type="SGDWithAdam"))
