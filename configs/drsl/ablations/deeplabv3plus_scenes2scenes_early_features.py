"""Small DeepLabV3+ on the procedural scenes, DRSL ablation: modes of an earlier feature map, which still shows material and colour.

python tools/train.py configs/drsl/ablations/deeplabv3plus_scenes2scenes_early_features.py

Not run here yet.
"""

_base_ = ["../deeplabv3plus_scenes2scenes.py"]
model = dict(heads=dict(mmdl=dict(in_index=1, in_channels=32)))
