"""The adaptor around every model of this folder: ImageNet's normalization, sizes that are multiples of 8."""

model = dict(
    type="UDASegmentor",
    data_preprocessor=dict(
        type="UDADataPreprocessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size_divisor=8,
    ),
    segmentor=dict(type="EncoderDecoder", train_cfg=dict(), test_cfg=dict(mode="whole")),
)
