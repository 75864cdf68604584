"""Small DeepLabV3+ on the procedural scenes, DRSL ablation: alignment by the energy distance, sampled modes.

python tools/train.py configs/drsl/ablations/deeplabv3plus_scenes2scenes_alignment_energy.py

Not run here yet.
"""

_base_ = ["../deeplabv3plus_scenes2scenes.py"]
model = dict(terms=dict(alignment=dict(loss=dict(distance="energy", stochastic=True))))
