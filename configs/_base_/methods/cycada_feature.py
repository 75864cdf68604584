"""CyCADA's feature level (Hoffman et al. 2018): a discriminator on the class scores, heard only while it is right.

A final config takes it up as ``model = dict(discriminators=dict(scores=dict(_base_.score_discriminator,
in_channels=<classes>)), terms=dict(_base_.cycada_feature_terms, _delete_=True))`` beside a `SelfTrainingHook` with
``online=True``: its rounds set the share of target images and make no labels. Beside pseudo labels the term
``adaptation`` joins theirs instead.
"""

score_discriminator = dict(
    type="DomainDiscriminator", hidden_channels=(64, 128), kernel_size=3, stride=1
)
cycada_feature_terms = dict(
    source=dict(type="SegmentationTerm", domain="source"),
    # reversal=True is gradient reversal; inputs="features" judges the last feature map.
    adaptation=dict(
        type="FeatureAdaptationTerm",
        discriminator="scores",
        inputs="scores",
        weight=0.1,
        gate=dict(threshold=0.6, window=100),
    ),
)
custom_hooks = [dict(type="DomainAccuracyHook")]
# The discriminator gets no gradient from the warm-up's batches.
find_unused_parameters = True
