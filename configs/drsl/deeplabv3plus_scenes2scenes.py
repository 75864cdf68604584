_base_ = [
    "../self_training/deeplabv3plus_scenes2scenes.py",
    "../_base_/methods/drsl.py",
]
model = dict(
    heads=dict(mmdl=dict(type="MMDLHead", in_channels=96, in_index=3, embedding_dim=32, hidden_channels=96, num_classes=19)),
    terms={{_base_.drsl_terms}},
)
default_hooks = dict(modes={{_base_.drsl_hook}})
