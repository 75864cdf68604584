"""DeepLabV3+ (MobileNetV2), CARLA to CamVid, DRSL ablation: alignment by the energy distance, sampled modes.

python tools/train.py configs/drsl/ablations/deeplabv3plus_carla2camvid_alignment_energy.py

Not run here yet.
"""

_base_ = ["../deeplabv3plus_carla2camvid.py"]
model = dict(terms=dict(alignment=dict(loss=dict(distance="energy", stochastic=True))))
