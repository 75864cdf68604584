"""Small DeepLabV3+ from scratch on the procedural scenes, Seg-Uncertainty: self-training rectified by two classifiers.

python tools/train.py configs/seg_uncertainty/deeplabv3plus_scenes2scenes.py

Warm-up, steps, mixture of the batches, pseudo labels and teacher are those of the self-training twin.
Not run here yet.
"""

_base_ = [
    "../self_training/deeplabv3plus_scenes2scenes.py",
    "../_base_/methods/seg_uncertainty.py",
]
model = dict(
    heads=dict(
        auxiliary=dict(
            _base_.auxiliary_head,
            in_channels=64,
            in_index=2,
            num_classes=19,
            loss_decode=dict(
                _base_.auxiliary_head["loss_decode"],
                class_weight=_base_.class_weight,
                avg_non_ignore=False,
            ),
        )
    ),
    heads_shape_warmup=False,
    terms=dict(_base_.seg_uncertainty_terms, _delete_=True),
)
