"""DRSL beside MIC for schedules of some hundred steps: the modes are seeded after 200 of them and never revived."""

_base_ = "drsl_mic.py"
method_hooks = dict(modes=dict(kmeans_iteration=200, interval=0))
