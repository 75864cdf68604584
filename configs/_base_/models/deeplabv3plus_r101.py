"""DeepLabV3+ on ResNet-101 (V1, as in torchvision) dilated to output stride 8; see deeplabv3plus_r50.py."""

_base_ = "deeplabv3plus_r50.py"
model = dict(segmentor=dict(backbone=dict(depth=101)))
