"""Small DeepLabV3+ on the procedural scenes, DRSL ablation: mode learning shapes the backbone in the warm-up too.

python tools/train.py configs/drsl/ablations/deeplabv3plus_scenes2scenes_shaped_warmup.py

Not run here yet.
"""

_base_ = ["../deeplabv3plus_scenes2scenes.py"]
model = dict(heads_shape_warmup=True)
