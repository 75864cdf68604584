"""ADVENT (Vu et al. 2019): as adaptsegnet_multi.py, on weighted self-information maps instead of probabilities."""

_base_ = "auxiliary_classifier.py"
title = "ADVENT"
method = dict(
    # No label holds the target: in the statistics of the batch it would move what the source taught.
    bn_mode="frozen",
    discriminators=dict(
        output=dict(type="DomainDiscriminator"), auxiliary=dict(type="DomainDiscriminator")
    ),
    terms=dict(
        adversarial=dict(type="EntropyAdversarialTerm", discriminator="output", weight=1e-3),
        adversarial_auxiliary=dict(
            type="EntropyAdversarialTerm", discriminator="auxiliary", head="auxiliary", weight=2e-4
        ),
    ),
)
# Rounds set the share of target images and make no labels.
method_hooks = dict(self_training=dict(online=True))
# The discriminators get no gradient from the warm-up's batches.
find_unused_parameters = True
