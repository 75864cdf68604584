"""CyCADA's translator with CycleGAN's networks (Hoffman et al. 2018, Zhu et al. 2017): parts that a config puts together.

Weights are TLLib's: cycle 10, identity 5, semantic 1. What depends on the pair, the judging segmentor and the length of
the training, is in the config of the pair.
"""

translator = dict(
    type="mmagic.CyCADA",
    generator=dict(
        type="mmagic.ResnetGenerator",
        in_channels=3,
        out_channels=3,
        base_channels=64,
        num_blocks=9,
        norm_cfg=dict(type="IN"),
        use_dropout=False,
    ),
    discriminator=dict(
        type="mmagic.PatchDiscriminator",
        in_channels=3,
        base_channels=64,
        num_conv=3,
        norm_cfg=dict(type="IN"),
    ),
    data_preprocessor=dict(
        type="UnpairedDataPreprocessor",
        mean=[127.5, 127.5, 127.5],
        std=[127.5, 127.5, 127.5],
        bgr_to_rgb=True,
        size_divisor=4,
    ),
    cycle_weight=10.0,
    identity_weight=5.0,
)
translator_optimizer = dict(type="Adam", lr=2e-4, betas=(0.5, 0.999))
translator_optimizers = dict(
    constructor="mmagic.MultiOptimWrapperConstructor",
    generators=dict(type="OptimWrapper", optimizer=translator_optimizer),
    discriminators=dict(type="OptimWrapper", optimizer=translator_optimizer),
)
# The segmentor that judges keeps its own normalization.
semantic_preprocessor = dict(type="SegDataPreProcessor", bgr_to_rgb=True, size_divisor=8)
