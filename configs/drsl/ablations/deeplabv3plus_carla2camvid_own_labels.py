"""DeepLabV3+ (MobileNetV2), CARLA to CamVid, DRSL ablation: pseudo labels from the segmentation head alone.

python tools/train.py configs/drsl/ablations/deeplabv3plus_carla2camvid_own_labels.py

Measured with seed 0 and without the averaged teacher (tools/run_benchmark.py) on one core: mIoU 32.9
(0006R0 32.2, 0016E5 30.5), 900 steps of about 1.3 s.
"""

_base_ = ["../deeplabv3plus_carla2camvid.py"]
default_hooks = dict(
    self_training=dict(labeller=dict(policy=dict(second_head=None, second_share=0.0)))
)
