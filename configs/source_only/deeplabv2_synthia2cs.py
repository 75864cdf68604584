"""DeepLab-V2 (ResNet-101), SYNTHIA to Cityscapes, trained on the source alone, as long as its adapted twins: the lower bound.

python tools/train.py configs/source_only/deeplabv2_synthia2cs.py

Not run here on the full sets: they are not on the machine this was developed on.
"""

_base_ = [
    "../_base_/models/deeplabv2_r101.py",
    "../_base_/datasets/synthia2cs.py",
    "../_base_/schedules/gta2cs.py",
    "../_base_/default_runtime.py",
]
model = dict(
    segmentor=dict(decode_head=dict(num_classes=16)),
    terms=dict(source=dict(type="SegmentationTerm", domain="source")),
)
