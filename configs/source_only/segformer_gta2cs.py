"""SegFormer (MiT-B5), GTA5 to Cityscapes, trained on the source alone, as long as its adapted twins: the lower bound.

python tools/train.py configs/source_only/segformer_gta2cs.py

Not run here on the full sets: they are not on the machine this was developed on.
"""

_base_ = [
    "../_base_/models/segformer_b5.py",
    "../_base_/datasets/gta2cs.py",
    "../_base_/schedules/gta2cs_segformer.py",
    "../_base_/default_runtime.py",
]
model = dict(
    segmentor=dict(decode_head=dict(num_classes=19)),
    terms=dict(source=dict(type="SegmentationTerm", domain="source")),
)
