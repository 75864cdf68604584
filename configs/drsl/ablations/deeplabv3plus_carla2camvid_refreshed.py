"""DeepLabV3+ (MobileNetV2), CARLA to CamVid, DRSL ablation: modes brought back to where their pixels are, by k-means every 100 steps.

python tools/train.py configs/drsl/ablations/deeplabv3plus_carla2camvid_refreshed.py

Not run here yet.
"""

_base_ = ["../deeplabv3plus_carla2camvid.py"]
default_hooks = dict(modes=dict(refresh_interval=100))
