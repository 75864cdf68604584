"""MIC (Hoyer et al. 2023) on DACS: the student learns from masked target images what the teacher says of whole ones.

Blocks of 48 pixels are for crops of 256 and smaller; the publication has 64 at crops of 1024 and 32 at 512.
Teacher and ClassMix are DACS's, for short schedules; configs/mic/deeplabv3plus_gta2cs.py has the published ones.
"""

_base_ = "dacs.py"
title = "MIC"
method = dict(terms=dict(masked=dict(type="MaskedConsistencyTerm", block_size=48, ratio=0.7)))
