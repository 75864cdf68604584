"""DeepLabV3+ (MobileNetV2), CARLA to CamVid, class-balanced self-training with MRKLD (CRST).

python tools/train.py configs/mrkld/deeplabv3plus_carla2camvid.py

The self-training config of this project has MRKLD already; this is that config under the method's own name, and
self_training/deeplabv3plus_carla2camvid_plain.py is self-training without it. Same numbers as there, see its header.
"""

_base_ = "../self_training/deeplabv3plus_carla2camvid.py"
