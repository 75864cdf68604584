"""AdaptSegNet (Tsai et al. 2018), one level: target segmentations shall look like source ones to a discriminator.

A final config takes it up as ``model = dict(discriminators=dict(output=dict(type="DomainDiscriminator",
in_channels=<classes>)), terms=dict(_base_.adaptsegnet_terms, _delete_=True))`` beside a `SelfTrainingHook` with
``online=True``: its rounds set the share of target images and make no labels.
"""

adaptsegnet_terms = dict(
    source=dict(type="SegmentationTerm", domain="source"),
    # kind="least_squares", weight=0.01 is the variant with least squares.
    adversarial=dict(type="AdversarialTerm", discriminator="output", weight=1e-3),
)
# The discriminators get no gradient from the warm-up's batches.
find_unused_parameters = True
