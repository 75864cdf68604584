"""AdvEnt (Vu et al. 2019): as AdaptSegNet with two levels, on weighted self-information maps instead of probabilities."""

_base_ = "auxiliary_head.py"
advent_terms = dict(
    source=dict(type="SegmentationTerm", domain="source"),
    source_auxiliary=dict(type="SegmentationTerm", domain="source", head="auxiliary", weight=0.1),
    adversarial=dict(
        type="AdversarialTerm", discriminator="output", maps="self_information", weight=1e-3
    ),
    adversarial_auxiliary=dict(
        type="AdversarialTerm",
        discriminator="auxiliary",
        head="auxiliary",
        maps="self_information",
        weight=2e-4,
    ),
)
# The discriminators get no gradient from the warm-up's batches.
find_unused_parameters = True
