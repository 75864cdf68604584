"""Small DeepLabV3+ from scratch on the procedural scenes, class-balanced self-training without MRKLD (CBST).

python tools/train.py configs/self_training/deeplabv3plus_scenes2scenes_plain.py

Not run here yet.
"""

_base_ = "deeplabv3plus_scenes2scenes.py"
model = dict(
    terms=dict(
        _delete_=True,
        source=_base_.model.terms.source,
        target=_base_.model.terms.target,
    )
)
