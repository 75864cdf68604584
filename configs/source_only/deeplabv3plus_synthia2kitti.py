"""DeepLabV3+ (ResNet-50), SYNTHIA to KITTI, trained on the source alone, as long as its adapted twins: the lower bound.

python tools/train.py configs/source_only/deeplabv3plus_synthia2kitti.py

Not run here on the full sets: they are not on the machine this was developed on.
"""

_base_ = [
    "../_base_/models/deeplabv3plus_r50.py",
    "../_base_/datasets/synthia2kitti.py",
    "../_base_/schedules/gta2cs.py",
    "../_base_/default_runtime.py",
]
model = dict(
    segmentor=dict(decode_head=dict(num_classes=16)),
    terms=dict(source=dict(type="SegmentationTerm", domain="source")),
)
