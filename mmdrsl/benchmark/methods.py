"""The methods that a benchmark compares, and where their configs are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config

from mmdrsl.benchmark.pairs import DEFAULT_PAIR

_CONFIG = "deeplabv3plus_{pair}.py"


@dataclass(frozen=True, kw_only=True)
class Method:
    """A method of the comparison.

    Whether it starts from the shared warm-up is no entry here: `warmup.warmup_config` reads it from the config.

    Attributes:
        title: How tables call it.
        config: Its config below the folder of configs, with ``{pair}`` in place of the pair; None for
            ``<id>/deeplabv3plus_{pair}.py``.
        terms: Types that must be among its ``model.terms``, so that a config under its name is the method.
        is_translated: Whether it trains on translated source images.
    """

    title: str
    config: str | None = None
    terms: tuple[str, ...] = ("SegmentationTerm",)
    is_translated: bool = False


METHODS = {
    "source_only": Method(title="Source only"),
    "oracle": Method(title="Oracle"),
    # The usual config of this project is that of mrkld.
    "self_training": Method(
        title="Self-training", config="self_training/deeplabv3plus_{pair}_plain.py"
    ),
    "drsl": Method(title="DRSL", terms=("SegmentationTerm", "ModeMetricTerm", "ModeAlignmentTerm")),
    "adaptsegnet": Method(title="AdaptSegNet", terms=("SegmentationTerm", "AdversarialTerm")),
    "adaptsegnet_multi": Method(
        title="AdaptSegNet, two levels", terms=("SegmentationTerm", "AdversarialTerm")
    ),
    "seg_uncertainty": Method(
        title="Seg-Uncertainty", terms=("SegmentationTerm", "RectifiedCrossEntropyTerm")
    ),
    "cycada_pixel": Method(title="CyCADA, pixels", is_translated=True),
    "cycada_feature": Method(
        title="CyCADA, features", terms=("SegmentationTerm", "FeatureAdaptationTerm")
    ),
    "cycada": Method(
        title="CyCADA",
        config=f"cycada_pixel_feature/{_CONFIG}",
        terms=("SegmentationTerm", "FeatureAdaptationTerm"),
        is_translated=True,
    ),
    "mrkld": Method(title="MRKLD", terms=("SegmentationTerm", "ModelRegularizationTerm")),
    "minent": Method(title="MinEnt", terms=("SegmentationTerm", "EntropyTerm")),
    "advent": Method(title="ADVENT", terms=("SegmentationTerm", "AdversarialTerm")),
    "dacs": Method(title="DACS", terms=("SegmentationTerm", "ClassMixTerm")),
}
"""Methods by id, in the order of the tables."""


def config_file(name: str, configs: Path, pair: str = DEFAULT_PAIR) -> Path:
    """Where the config of a method is, or should be.

    Args:
        name: Key of `METHODS`.
        configs: Folder of the configs.
        pair: Key of `PAIRS`.

    Returns:
        The file.
    """
    return configs / (METHODS[name].config or f"{name}/{_CONFIG}").format(pair=pair)


def method_config(name: str, configs: Path, pair: str = DEFAULT_PAIR) -> Config:
    """Load the config of a method.

    Args:
        name: Key of `METHODS`.
        configs: Folder of the configs.
        pair: Key of `PAIRS`.

    Returns:
        The config, as `tools/train.py` would read it.

    Raises:
        ValueError: The name is unknown, or the config lacks a term of the method.
        FileNotFoundError: There is no such config.
    """
    if name not in METHODS:
        raise ValueError(f"unknown method {name!r}: use some of {list(METHODS)}.")
    path = config_file(name, configs, pair)
    if not path.is_file():
        raise FileNotFoundError(
            f"method {name!r} has no config {path}: add it, or leave {name!r} out of --methods."
        )
    cfg = Config.fromfile(path)
    present = {term["type"] for term in cfg.model.get("terms", {}).values()}
    missing = sorted(set(METHODS[name].terms) - present)
    if missing:
        raise ValueError(
            f"{path} is no config of {name!r}: model.terms lacks {missing}, found {sorted(present)}."
        )
    return cfg
