"""Small DeepLabV3+ on the procedural scenes, DRSL ablation: alignment of the modes' means, sampled modes.

python tools/train.py configs/drsl/ablations/deeplabv3plus_scenes2scenes_alignment_mean.py

Not run here yet.
"""

_base_ = ["../deeplabv3plus_scenes2scenes.py"]
model = dict(terms=dict(alignment=dict(loss=dict(distance="mean", stochastic=True))))
