"""DeepLabV3+ (MobileNetV2), CARLA to CamVid, DRSL ablation: no mode learning and no alignment, which leaves self-training.

python tools/train.py configs/drsl/ablations/deeplabv3plus_carla2camvid_no_mmdl.py

Not run here yet.
"""

_base_ = ["../../self_training/deeplabv3plus_carla2camvid.py"]
