"""DeepLab-V2 (ResNet-101), SYNTHIA to Cityscapes, AdaptSegNet: adversarial alignment of the output, one level.

python tools/train.py configs/adaptsegnet/deeplabv2_synthia2cs.py

Warm-up, steps and mixture of the batches are those of the self-training twin; no pseudo labels are made.
Not run here on the full sets: they are not on the machine this was developed on.
"""

_base_ = ["../self_training/deeplabv2_synthia2cs.py", "../_base_/methods/adaptsegnet.py"]
model = dict(
    # No label holds the target: in the statistics of the batch it would move what the source taught.
    normalisation="frozen",
    discriminators=dict(
        output=dict(type="DomainDiscriminator", in_channels=16),
    ),
    terms=dict(_base_.adaptsegnet_terms, _delete_=True),
)
default_hooks = dict(self_training=dict(online=True))
# SGD for the network, Adam for the discriminator, as released.
optim_wrapper = dict(optimizer=dict(type="SGDWithAdam"))
