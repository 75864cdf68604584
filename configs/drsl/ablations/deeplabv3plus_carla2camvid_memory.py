"""DeepLabV3+ (MobileNetV2), CARLA to CamVid, DRSL ablation: remembered source pixels stand in for rare modes in the alignment.

python tools/train.py configs/drsl/ablations/deeplabv3plus_carla2camvid_memory.py

Not run here yet.
"""

_base_ = ["../deeplabv3plus_carla2camvid.py"]
model = dict(
    heads=dict(mmdl=dict(memory_size=64)),
    terms=dict(alignment=dict(use_memory=True)),
)
default_hooks = dict(mode_memory=dict(type="ModeMemoryHook", interval=20))
