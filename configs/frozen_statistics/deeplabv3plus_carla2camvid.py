"""DeepLabV3+ (MobileNetV2), CARLA to CamVid, the control: target images in the batch, no loss on them, frozen statistics.

python tools/train.py configs/frozen_statistics/deeplabv3plus_carla2camvid.py

Half of each batch after the warm-up is unlabelled and learned from by nobody: what a method brings beside the statistics of
normalisation is what it has above this. model.normalisation="joint" shows what those cost.
Measured as self-training with factor 0 on the target, without the averaged teacher, with seeds 0, 1, 2: mIoU 35.6, 32.6,
35.5; with joint statistics 28.3 (seed 0). 900 steps of about 1.2 s.
"""

_base_ = "../self_training/deeplabv3plus_carla2camvid.py"
model = dict(
    normalisation="frozen",
    terms=dict(_delete_=True, source=_base_.model.terms.source),
)
default_hooks = dict(self_training=dict(online=True))
