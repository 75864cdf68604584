"""Small DeepLabV3+ on the procedural scenes, DRSL ablation: remembered source pixels stand in for rare modes in the alignment.

python tools/train.py configs/drsl/ablations/deeplabv3plus_scenes2scenes_memory.py

Not run here yet.
"""

_base_ = ["../deeplabv3plus_scenes2scenes.py"]
model = dict(
    heads=dict(mmdl=dict(memory_size=64)),
    terms=dict(alignment=dict(use_memory=True)),
)
default_hooks = dict(mode_memory=dict(type="ModeMemoryHook", interval=20))
