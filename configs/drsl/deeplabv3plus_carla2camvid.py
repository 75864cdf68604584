_base_ = [
    "../self_training/deeplabv3plus_carla2camvid.py",
    "../_base_/methods/drsl.py",
]
model = dict(
    heads=dict(mmdl=dict(type="MMDLHead", in_channels=320, in_index=3, num_classes=10)),
    terms={{_base_.drsl_terms}},
)
default_hooks = dict(modes={{_base_.drsl_hook}})
