"""MIC (Hoyer et al. 2023) on DAFormer's self-training, with the published blocks for crops of 1024."""

_base_ = "daformer.py"
title = "MIC on DAFormer"
method = dict(terms=dict(masked=dict(type="MaskedConsistencyTerm", block_size=64, ratio=0.7)))
