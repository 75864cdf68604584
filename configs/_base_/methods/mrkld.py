"""MRKLD (CRST, Zou et al. 2019): self-training whose confidence is regularized."""

_base_ = "self_training.py"
title = "MRKLD"
method = dict(terms=dict(regularization=dict(type="ModelRegularizationTerm", weight=0.1)))
