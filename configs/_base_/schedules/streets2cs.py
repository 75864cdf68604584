"""1,900 steps of AdamW: 1,300 on the source, then two rounds of 300 on half source, half target.

The rates fall by a cosine in the warm-up, and again from 0.6 of the first ones in the rounds.
"""

warmup_iterations = 1300
rounds = [
    dict(iterations=300, portion=0.5, target_share=0.5),
    dict(iterations=300, portion=0.5, target_share=0.5),
]
max_iters = 1900
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=1e-3, betas=(0.9, 0.999), weight_decay=0.01),
    paramwise_cfg=dict(
        custom_keys={
            "backbone": dict(lr_mult=0.1),
            "representatives": dict(lr_mult=1.0, decay_mult=0.0),
            # A discriminator's Adam, as AdaptSegNet has it: 1e-4 at first.
            "discriminators": dict(lr_mult=0.1, decay_mult=0.0, betas=(0.9, 0.99)),
        },
    ),
)
param_scheduler = [
    dict(
        type="CosineRestartLR",
        periods=[warmup_iterations, max_iters - warmup_iterations],
        restart_weights=[1.0, 0.6],
        eta_min=0.0,
        by_epoch=False,
    ),
    dict(type="LinearLR", start_factor=0.05, begin=0, end=50, by_epoch=False),
]
train_cfg = dict(type="IterBasedTrainLoop", max_iters=max_iters, val_interval=max_iters)
