"""DeepLabV3+ (ResNet-50), GTA5 to KITTI, trained on the source alone, as long as its adapted twins: the lower bound.

python tools/train.py configs/source_only/deeplabv3plus_gta2kitti.py

Not run here on the full sets: they are not on the machine this was developed on.
"""

_base_ = [
    "../_base_/models/deeplabv3plus_r50.py",
    "../_base_/datasets/gta2kitti.py",
    "../_base_/schedules/gta2cs.py",
    "../_base_/default_runtime.py",
]
model = dict(
    segmentor=dict(decode_head=dict(num_classes=19)),
    terms=dict(source=dict(type="SegmentationTerm", domain="source")),
)
