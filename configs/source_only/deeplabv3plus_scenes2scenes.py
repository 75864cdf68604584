_base_ = [
    "../_base_/models/deeplabv3plus_small.py",
    "../_base_/datasets/scenes2scenes.py",
    "../_base_/schedules/scenes2scenes.py",
    "../_base_/default_runtime.py",
]
model = dict(
    terms=dict(source=dict(type="SegmentationTerm", domain="source")),
)
