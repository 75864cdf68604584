"""900 steps of AdamW: 600 on the source, then two rounds of 150 on half source, half pseudo-labeled target."""

warmup_iterations = 600
rounds = [
    dict(iterations=150, portion=0.2, target_share=0.5),
    dict(iterations=150, portion=0.25, target_share=0.5),
]
max_iters = 900
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=5e-4, betas=(0.9, 0.999), weight_decay=0.01),
    paramwise_cfg=dict(
        custom_keys={
            "backbone": dict(lr_mult=0.4),
            # No decay on the sphere, and no higher rate: at ten times this one Adam moves them faster than pixels can follow.
            "representatives": dict(lr_mult=1.0, decay_mult=0.0),
            # A discriminator's Adam, as AdaptSegNet has it; about its 1e-4 where the adaptation begins.
            "discriminators": dict(lr_mult=0.4, decay_mult=0.0, betas=(0.9, 0.99)),
        },
    ),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.05, begin=0, end=100, by_epoch=False),
    dict(type="PolyLR", power=0.9, eta_min=5e-5, begin=100, end=max_iters, by_epoch=False),
]
train_cfg = dict(type="IterBasedTrainLoop", max_iters=max_iters, val_interval=max_iters)
