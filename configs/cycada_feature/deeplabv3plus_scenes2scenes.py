"""Small DeepLabV3+ from scratch on the procedural scenes, CyCADA's feature level alone: original images, class scores aligned.

python tools/train.py configs/cycada_feature/deeplabv3plus_scenes2scenes.py

Warm-up, steps, mixture of the batches and teacher are those of the self-training twin; no pseudo labels are made.
Not run here yet.
"""

_base_ = [
    "../self_training/deeplabv3plus_scenes2scenes.py",
    "../_base_/methods/cycada_feature.py",
]
model = dict(
    discriminators=dict(scores=dict(_base_.score_discriminator, in_channels=19)),
    terms=dict(_base_.cycada_feature_terms, _delete_=True),
)
default_hooks = dict(self_training=dict(online=True))
