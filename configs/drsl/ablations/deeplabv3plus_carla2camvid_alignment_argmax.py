"""DeepLabV3+ (MobileNetV2), CARLA to CamVid, DRSL ablation: alignment of pairs, the most probable mode instead of a sampled one.

python tools/train.py configs/drsl/ablations/deeplabv3plus_carla2camvid_alignment_argmax.py

Not run here yet.
"""

_base_ = ["../deeplabv3plus_carla2camvid.py"]
model = dict(terms=dict(alignment=dict(loss=dict(distance="pair", stochastic=False))))
