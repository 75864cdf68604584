"""Configs of a tiny segmentor with three classes, alone and in an adaptor."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from tiny_adaptor import TERMS, plain_config

SPACE = dict(
    name="three", classes=("road", "car", "sky"), palette=((128, 64, 128), (0, 0, 142), (70, 130, 180))
)  # fmt: skip
PREPROCESSOR = dict(mean=[100.0] * 3, std=[50.0] * 3)
PIPELINE = [dict(type="LoadImage"), dict(type="LoadLabels"), dict(type="PackSegInputs")]


def plain_model():
    """An `EncoderDecoder`."""
    return dict(plain_config(), data_preprocessor=dict(PREPROCESSOR, type="SegDataPreProcessor"))


def training_config():
    """An adaptor around it, and the pipeline of its test."""
    return dict(
        model=dict(
            type="UDASegmentor",
            label_space=SPACE,
            crop_size=(64, 64),
            data_preprocessor=dict(PREPROCESSOR, type="UDADataPreprocessor"),
            segmentor=plain_config(),
            terms=dict(source=TERMS["source"]),
        ),
        test_pipeline=PIPELINE,
    )
