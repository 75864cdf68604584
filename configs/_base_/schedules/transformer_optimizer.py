"""SegFormer's optimizer for the steps of full_sets.py: AdamW at 6e-5, ten times that for heads, no decay of norms.

A config takes it up as ``optim_wrapper = _base_.transformer_optim_wrapper`` and
``param_scheduler = _base_.transformer_param_scheduler``.
"""

transformer_optim_wrapper = dict(
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
            "representatives": dict(lr_mult=10.0, decay_mult=0.0),
            "discriminators": dict(lr_mult=1.7, decay_mult=0.0, betas=(0.9, 0.99)),
        },
    ),
)
transformer_param_scheduler = [
    dict(type="LinearLR", start_factor=1e-6, begin=0, end=1500, by_epoch=False),
    dict(type="PolyLR", power=1.0, eta_min=0.0, begin=1500, end=35000, by_epoch=False),
]
