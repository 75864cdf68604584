"""35,000 steps of SGD: 20,000 on the source, then three rounds of 5,000 on half source, half pseudo-labeled target.

The portions are those of CRST (Zou et al. 2019); the rest is this project's own and not tuned on the full sets.
"""

warmup_iterations = 20000
rounds = [
    dict(iterations=5000, portion=0.2, target_share=0.5),
    dict(iterations=5000, portion=0.25, target_share=0.5),
    dict(iterations=5000, portion=0.3, target_share=0.5),
]
max_iters = 35000
optim_wrapper = dict(
    type="OptimWrapper",
    # SGD for networks, Adam for discriminators.
    optimizer=dict(type="SGDWithAdam", lr=2.5e-3, momentum=0.9, weight_decay=5e-4),
    paramwise_cfg=dict(
        custom_keys={
            "head": dict(lr_mult=10.0),
            # Representatives move freely on the sphere: no decay, a rate of their own.
            "representatives": dict(lr_mult=10.0, decay_mult=0.0),
            # A discriminator's Adam: 1e-4 at first, about 2e-4 in the rounds, where
            # the schedule's floor lifts it.
            "discriminators": dict(lr_mult=0.04, decay_mult=0.0, betas=(0.9, 0.99)),
        }
    ),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.05, begin=0, end=500, by_epoch=False),
    dict(type="PolyLR", power=0.9, eta_min=2.5e-4, begin=500, end=max_iters, by_epoch=False),
]
train_cfg = dict(type="IterBasedTrainLoop", max_iters=max_iters, val_interval=max_iters)
