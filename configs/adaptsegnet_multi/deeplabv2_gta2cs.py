"""DeepLab-V2 (ResNet-101), GTA5 to Cityscapes, AdaptSegNet: adversarial alignment of two outputs.

python tools/train.py configs/adaptsegnet_multi/deeplabv2_gta2cs.py

Warm-up, steps and mixture of the batches are those of the self-training twin; no pseudo labels are made.
Not run here on the full sets: they are not on the machine this was developed on.
"""

_base_ = ["../self_training/deeplabv2_gta2cs.py", "../_base_/methods/adaptsegnet_multi.py"]
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
    discriminators=dict(
        output=dict(type="DomainDiscriminator", in_channels=19),
        auxiliary=dict(type="DomainDiscriminator", in_channels=19),
    ),
    terms=dict(_base_.adaptsegnet_multi_terms, _delete_=True),
)
default_hooks = dict(self_training=dict(online=True))
# SGD for the network, Adam for the discriminator, as released.
optim_wrapper = dict(optimizer=dict(type="SGDWithAdam"))
