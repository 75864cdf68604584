"""SegNet (VGG16-BN), SYNTHIA to KITTI, trained on the source alone, as long as its adapted twins: the lower bound.

python tools/train.py configs/source_only/segnet_synthia2kitti.py

Not run here on the full sets: they are not on the machine this was developed on.
"""

_base_ = [
    "../_base_/models/segnet_vgg16bn.py",
    "../_base_/datasets/synthia2kitti.py",
    "../_base_/schedules/gta2cs.py",
    "../_base_/default_runtime.py",
]
model = dict(
    segmentor=dict(decode_head=dict(num_classes=16)),
    terms=dict(source=dict(type="SegmentationTerm", domain="source")),
)
