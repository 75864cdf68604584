"""VFM-UDA (Englert et al. 2024): MIC's self-training for plain vision transformers, with patches hidden as a whole.

Blocks are patches of 14 pixels. After normalization they are zero, so that all hidden patches have one embedding, in
place of the learned one of the publication. The publication labels with the mean over image and mirror image.
"""

_base_ = "mic.py"
title = "VFM-UDA"
method = dict(
    terms=dict(
        mix=dict(classes_from="batch"),
        masked=dict(block_size=14, ratio=0.7),
    )
)
method_hooks = dict(teacher=dict(average=dict(momentum=0.001)))
