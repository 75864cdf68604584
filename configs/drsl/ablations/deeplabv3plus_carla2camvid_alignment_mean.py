"""DeepLabV3+ (MobileNetV2), CARLA to CamVid, DRSL ablation: alignment of the modes' means, sampled modes.

python tools/train.py configs/drsl/ablations/deeplabv3plus_carla2camvid_alignment_mean.py

Not run here yet.
"""

_base_ = ["../deeplabv3plus_carla2camvid.py"]
model = dict(terms=dict(alignment=dict(loss=dict(distance="mean", stochastic=True))))
