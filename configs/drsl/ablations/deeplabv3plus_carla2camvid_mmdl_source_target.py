"""DeepLabV3+ (MobileNetV2), CARLA to CamVid, DRSL ablation: mode learning on both domains, no alignment.

python tools/train.py configs/drsl/ablations/deeplabv3plus_carla2camvid_mmdl_source_target.py

Not run here yet.
"""

_base_ = ["../deeplabv3plus_carla2camvid.py"]
model = dict(
    terms=dict(
        _delete_=True,
        source=dict(type="SegmentationTerm", domain="source"),
        target={{_base_.self_training_terms.target}},
        regularisation={{_base_.self_training_terms.regularisation}},
        metric={{_base_.drsl_terms.metric}},
        metric_target={{_base_.drsl_terms.metric_target}},
    )
)
