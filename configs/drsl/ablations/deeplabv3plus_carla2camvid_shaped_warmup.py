"""DeepLabV3+ (MobileNetV2), CARLA to CamVid, DRSL ablation: mode learning shapes the backbone in the warm-up too.

python tools/train.py configs/drsl/ablations/deeplabv3plus_carla2camvid_shaped_warmup.py

Not run here yet.
"""

_base_ = ["../deeplabv3plus_carla2camvid.py"]
model = dict(heads_shape_warmup=True)
