"""AdaptSegNet (Tsai et al. 2018), two levels: on the output and on that of a second classifier.

The weights are those of the released code; its authors name 5e-5 and 5e-4 for PyTorch of 0.4 and later.
"""

_base_ = "auxiliary_classifier.py"
title = "AdaptSegNet, two levels"
method = dict(
    # No label holds the target: in the statistics of the batch it would move what the source taught.
    bn_mode="frozen",
    discriminators=dict(
        output=dict(type="DomainDiscriminator"), auxiliary=dict(type="DomainDiscriminator")
    ),
    terms=dict(
        adversarial=dict(type="AdversarialTerm", discriminator="output", weight=1e-3),
        adversarial_auxiliary=dict(
            type="AdversarialTerm", discriminator="auxiliary", head="auxiliary", weight=2e-4
        ),
    ),
)
# Rounds set the share of target images and make no labels.
method_hooks = dict(self_training=dict(online=True))
# The discriminators get no gradient from the warm-up's batches.
find_unused_parameters = True
