"""DeepLabV3+ (ResNet-50), GTA5 to Cityscapes, CyCADA's feature level alone: original images, class scores aligned.

python tools/train.py configs/cycada_feature/deeplabv3plus_gta2cs.py

Warm-up, steps and mixture of the batches are those of the self-training twin; no pseudo labels are made.
Not run here: needs the full sets.
"""

_base_ = ["../self_training/deeplabv3plus_gta2cs.py", "../_base_/methods/cycada_feature.py"]
model = dict(
    # No label holds the target: in the statistics of the batch it would move what the source taught.
    normalisation="frozen",
    discriminators=dict(scores=dict(_base_.score_discriminator, in_channels=19)),
    terms=dict(_base_.cycada_feature_terms, _delete_=True),
)
default_hooks = dict(self_training=dict(online=True))
# SGD for the network, Adam for the discriminator, as released.
optim_wrapper = dict(optimizer=dict(type="SGDWithAdam"))
