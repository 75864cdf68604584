"""Small DeepLabV3+ on the procedural scenes, DRSL ablation: one mode per class (K = 1): unimodal classes.

python tools/train.py configs/drsl/ablations/deeplabv3plus_scenes2scenes_one_mode.py

Not run here yet.
"""

_base_ = ["../deeplabv3plus_scenes2scenes.py"]
model = dict(heads=dict(mmdl=dict(num_modes=1)))
