"""The control: target images in the batch, no loss on them, the warm-up's statistics of batch normalization."""

title = "Frozen statistics, target unused"
method = dict(
    bn_mode="frozen",
    terms=dict(source=dict(type="SegmentationTerm", domain="source")),
)
# Rounds set the share of target images and make no labels.
method_hooks = dict(self_training=dict(online=True))
