"""DeepLabV3+ (ResNet-50), GTA5 to Cityscapes, class-balanced self-training with MRKLD (CRST).

python tools/train.py configs/mrkld/deeplabv3plus_gta2cs.py

The self-training config of this project has MRKLD already; this is that config under the method's own name, and
self_training/deeplabv3plus_gta2cs_plain.py is self-training without it.
Not run here: needs the full sets.
"""

_base_ = "../self_training/deeplabv3plus_gta2cs.py"
