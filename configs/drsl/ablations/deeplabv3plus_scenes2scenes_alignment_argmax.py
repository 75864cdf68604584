"""Small DeepLabV3+ on the procedural scenes, DRSL ablation: alignment of pairs, the most probable mode instead of a sampled one.

python tools/train.py configs/drsl/ablations/deeplabv3plus_scenes2scenes_alignment_argmax.py

Not run here yet.
"""

_base_ = ["../deeplabv3plus_scenes2scenes.py"]
model = dict(terms=dict(alignment=dict(loss=dict(distance="pair", stochastic=False))))
