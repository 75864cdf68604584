"""AdaptSegNet (Tsai et al. 2018), two levels: as adaptsegnet.py, on the output and on that of an auxiliary classifier.

The weights are those of the released code; its authors name 5e-5 and 5e-4 for PyTorch of 0.4 and later.
"""

_base_ = "auxiliary_head.py"
adaptsegnet_multi_terms = dict(
    source=dict(type="SegmentationTerm", domain="source"),
    source_auxiliary=dict(type="SegmentationTerm", domain="source", head="auxiliary", weight=0.1),
    adversarial=dict(type="AdversarialTerm", discriminator="output", weight=1e-3),
    adversarial_auxiliary=dict(
        type="AdversarialTerm", discriminator="auxiliary", head="auxiliary", weight=2e-4
    ),
)
# The discriminators get no gradient from the warm-up's batches.
find_unused_parameters = True
