"""DeepLabV3+ (MobileNetV2), CARLA to CamVid, DRSL ablation: modes of an earlier feature map, which still shows material and colour.

python tools/train.py configs/drsl/ablations/deeplabv3plus_carla2camvid_early_features.py

Not run here yet.
"""

_base_ = ["../deeplabv3plus_carla2camvid.py"]
model = dict(heads=dict(mmdl=dict(in_index=2, in_channels=96)))
