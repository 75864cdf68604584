"""Small DeepLabV3+ on the procedural scenes, DRSL ablation: mode learning on both domains and alignment: pairs, sampled modes.

python tools/train.py configs/drsl/ablations/deeplabv3plus_scenes2scenes_alignment_pair.py

Not run here yet.
"""

_base_ = ["../deeplabv3plus_scenes2scenes.py"]
model = dict(terms=dict(alignment=dict(loss=dict(distance="pair", stochastic=True))))
