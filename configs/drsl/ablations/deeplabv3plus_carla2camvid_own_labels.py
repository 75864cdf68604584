"""DeepLabV3+ (MobileNetV2), CARLA to CamVid, DRSL ablation: pseudo labels from the segmentation head alone.

python tools/train.py configs/drsl/ablations/deeplabv3plus_carla2camvid_own_labels.py

Not run here yet.
"""

_base_ = ["../deeplabv3plus_carla2camvid.py"]
default_hooks = dict(
    self_training=dict(labeller=dict(policy=dict(second_head=None, second_share=0.0)))
)
