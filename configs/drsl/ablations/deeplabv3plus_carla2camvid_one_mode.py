"""DeepLabV3+ (MobileNetV2), CARLA to CamVid, DRSL ablation: one mode per class (K = 1): unimodal classes.

python tools/train.py configs/drsl/ablations/deeplabv3plus_carla2camvid_one_mode.py

Not run here yet.
"""

_base_ = ["../deeplabv3plus_carla2camvid.py"]
model = dict(heads=dict(mmdl=dict(num_modes=1)))
