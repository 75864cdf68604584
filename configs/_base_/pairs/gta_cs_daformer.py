"""GTA5 to Cityscapes as DAFormer prepares it: crops of 512 x 512, rare classes, 40,000 steps from ImageNet weights.

Data, labels and evaluation are those of gta2cs.py. Colors are disturbed by the terms alone. Two source and two target
images from the first step on. Norms of the head do not decay here; the release lets them.
"""

_base_ = "gta2cs.py"
crop_size = (512, 512)
crop = [
    dict(type="RandomCrop", crop_size=crop_size, cat_max_ratio=0.75),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSegInputs"),
]
read_source = [dict(type="LoadImage"), dict(type="LoadLabels")]
read_target = [dict(type="LoadImage"), dict(type="LoadPseudoLabels")]
source_dataset = dict(
    pipeline=[*read_source, dict(type="Resize", scale=(1280, 720), keep_ratio=True), *crop]
)
target_dataset = dict(
    pipeline=[*read_target, dict(type="Resize", scale=(1024, 512), keep_ratio=True), *crop]
)
oracle_dataset = dict(
    pipeline=[*read_source, dict(type="Resize", scale=(1024, 512), keep_ratio=True), *crop]
)
train_dataloader = dict(
    sampler=dict(
        rare_class_sampling=dict(class_temp=0.01, min_pixels=3000, min_crop_ratio=0.5),
    ),
    dataset=dict(source=source_dataset, target=target_dataset),
)
pair_model = dict(crop_size=crop_size)
warmup_iterations = 0
rounds = [dict(iterations=40000, portion=0.5, target_share=0.5)]
max_iters = 40000
optim_wrapper = dict(
    _delete_=True,
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=6e-5, betas=(0.9, 0.999), weight_decay=0.01),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        custom_keys={
            "head": dict(lr_mult=10.0),
            # norm_decay_mult is for layers that no key names; a parameter takes the options of its longest key alone.
            ".bn.weight": dict(lr_mult=10.0, decay_mult=0.0),
            ".bn.bias": dict(lr_mult=10.0, decay_mult=0.0),
        },
    ),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-6, begin=0, end=1500, by_epoch=False),
    dict(type="PolyLR", power=1.0, eta_min=0.0, begin=0, end=max_iters, by_epoch=False),
]
train_cfg = dict(type="IterBasedTrainLoop", max_iters=max_iters, val_interval=4000)
default_hooks = dict(
    checkpoint=dict(interval=4000),
    self_training=dict(warmup_iterations=warmup_iterations, rounds=rounds),
)
