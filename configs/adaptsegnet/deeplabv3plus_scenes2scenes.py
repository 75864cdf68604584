"""Small DeepLabV3+ from scratch on the procedural scenes, AdaptSegNet: adversarial alignment of the output, one level.

python tools/train.py configs/adaptsegnet/deeplabv3plus_scenes2scenes.py

Warm-up, steps, mixture of the batches and teacher are those of the self-training twin; no pseudo labels are made.
Not run here yet.
"""

_base_ = [
    "../self_training/deeplabv3plus_scenes2scenes.py",
    "../_base_/methods/adaptsegnet.py",
]
model = dict(
    discriminators=dict(
        output=dict(type="DomainDiscriminator", in_channels=19),
    ),
    terms=dict(_base_.adaptsegnet_terms, _delete_=True),
)
default_hooks = dict(self_training=dict(online=True))
