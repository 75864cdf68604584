"""DeepLabV3+ (MobileNetV2), CARLA to CamVid, DRSL that labels and predicts with a quarter of the target's statistics.

python tools/train.py configs/drsl/ablations/deeplabv3plus_carla2camvid_target_statistics.py

Every class keeps its portion of labels, however sure the network is. Measured with seeds 0, 1, 2 on one core, without
the teacher and with labels from one scale (tools/run_benchmark.py, docs/experiments.md): mean of sequences 36.3, 35.0, 35.6, mIoU 37.6, 36.1, 36.9.
900 steps of about 1.3 s, two labellings of a minute, three forward passes over 200 images for the statistics.
"""

_base_ = ["../deeplabv3plus_carla2camvid.py"]
default_hooks = dict(
    normalisation=dict(type="TargetNormalisationHook", target_share=0.25, rest="running"),
    self_training=dict(labeller=dict(policy=dict(highest_threshold=1.0))),
)
