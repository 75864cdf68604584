"""MinEnt (Vu et al. 2019): cross entropy on the source, entropy of two classifiers on the target; no labels, no opponent."""

_base_ = "auxiliary_head.py"
minent_terms = dict(
    source=dict(type="SegmentationTerm", domain="source"),
    source_auxiliary=dict(type="SegmentationTerm", domain="source", head="auxiliary", weight=0.1),
    entropy=dict(type="EntropyTerm", weight=1e-3),
    entropy_auxiliary=dict(type="EntropyTerm", head="auxiliary", weight=2e-4),
)
