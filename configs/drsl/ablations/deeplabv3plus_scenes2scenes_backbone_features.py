"""Small DeepLabV3+ on the procedural scenes, DRSL ablation: modes of the backbone's last feature map instead of the decoder's.

python tools/train.py configs/drsl/ablations/deeplabv3plus_scenes2scenes_backbone_features.py

Not run here yet.
"""

_base_ = ["../deeplabv3plus_scenes2scenes.py"]
model = dict(heads=dict(mmdl=dict(in_index=3, in_channels=128)))
