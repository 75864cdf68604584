"""Small DeepLabV3+ from scratch on the procedural scenes, class-balanced self-training with MRKLD (CRST).

python tools/train.py configs/mrkld/deeplabv3plus_scenes2scenes.py

The self-training config of this project has MRKLD already; this is that config under the method's own name, and
self_training/deeplabv3plus_scenes2scenes_plain.py is self-training without it. Same numbers as there, see its header.
"""

_base_ = "../self_training/deeplabv3plus_scenes2scenes.py"
