"""CyCADA's feature level (Hoffman et al. 2018): a discriminator on the class scores, heard only while it is right."""

title = "CyCADA, features"
method = dict(
    # No label holds the target: in the statistics of the batch it would move what the source taught.
    bn_mode="frozen",
    discriminators=dict(
        scores=dict(type="DomainDiscriminator", hidden_channels=(64, 128), kernel_size=3, stride=1)
    ),
    terms=dict(
        source=dict(type="SegmentationTerm", domain="source"),
        adaptation=dict(
            type="FeatureAdaptationTerm",
            discriminator="scores",
            weight=0.1,
            gate=dict(threshold=0.6, window=100),
        ),
    ),
)
# Rounds set the share of target images and make no labels.
method_hooks = dict(self_training=dict(online=True))
# The discriminators get no gradient from the warm-up's batches.
find_unused_parameters = True
