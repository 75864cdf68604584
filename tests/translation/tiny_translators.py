"""Configs of translators small enough for tests."""

GENERATOR = dict(
    type="mmagic.ResnetGenerator",
    in_channels=3,
    out_channels=3,
    base_channels=4,
    num_blocks=1,
    norm_cfg=dict(type="IN"),
)
DISCRIMINATOR = dict(
    type="mmagic.PatchDiscriminator",
    in_channels=3,
    base_channels=4,
    num_conv=2,
    norm_cfg=dict(type="IN"),
)
PREPROCESSOR = dict(
    type="UnpairedDataPreprocessor",
    mean=[127.5] * 3,
    std=[127.5] * 3,
    bgr_to_rgb=True,
    size_divisor=4,
)
SEGMENTOR = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(
        type="SegDataPreProcessor", mean=[120.0] * 3, std=[60.0] * 3, bgr_to_rgb=True
    ),
    backbone=dict(
        type="ResNet",
        depth=18,
        stem_channels=4,
        base_channels=4,
        num_stages=2,
        out_indices=(0, 1),
        strides=(1, 2),
        dilations=(1, 1),
        norm_cfg=dict(type="BN"),
    ),
    decode_head=dict(
        type="FCNHead",
        in_channels=8,
        in_index=1,
        channels=8,
        num_convs=1,
        num_classes=5,
        norm_cfg=dict(type="BN"),
        align_corners=False,
    ),
    test_cfg=dict(mode="whole"),
)
# Unlike Adam, plain gradient descent shows a wrong factor on a loss in the weights.
LEARNING_RATE = 0.01
SGD = dict(type="SGD", lr=LEARNING_RATE)
OPTIM_WRAPPER = dict(
    generators=dict(type="OptimWrapper", optimizer=SGD),
    discriminators=dict(type="OptimWrapper", optimizer=SGD),
)
