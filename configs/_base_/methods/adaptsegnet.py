"""AdaptSegNet (Tsai et al. 2018), one level: target segmentations shall look like source ones to a discriminator.

The variant with least squares is ``model.terms.adversarial.kind=least_squares model.terms.adversarial.weight=0.01``.
"""

title = "AdaptSegNet"
method = dict(
    # No label holds the target: in the statistics of the batch it would move what the source taught.
    bn_mode="frozen",
    discriminators=dict(output=dict(type="DomainDiscriminator")),
    terms=dict(
        source=dict(type="SegmentationTerm", domain="source"),
        adversarial=dict(type="AdversarialTerm", discriminator="output", weight=1e-3),
    ),
)
# Rounds set the share of target images and make no labels.
method_hooks = dict(self_training=dict(online=True))
# The discriminators get no gradient from the warm-up's batches.
find_unused_parameters = True
