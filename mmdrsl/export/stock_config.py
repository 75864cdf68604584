"""The config that MMSegmentation reads without this library: network, test pipeline, test images and labels."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from os.path import relpath
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np
from mmengine.config import Config
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS, METRICS, MODELS, TRANSFORMS

from mmdrsl.datasets.label_spaces import get_label_space
from mmdrsl.datasets.labeled import LabelledImageDataset
from mmdrsl.inference.image_loading import pipeline_of, without_labels
from mmdrsl.models.backbones.plain_vit import MERGED_TUNING
from mmdrsl.models.segmentors.completion import complete_segmentor, heads_of

WRITTEN_BY = "written by `mmdrsl export`"
"""In the header of every exported config."""
STOCK_PACKAGES = ("mmseg", "mmcv", "mmengine", "torch")
_REGISTRIES = (MODELS, TRANSFORMS, DATASETS, METRICS)
# By this library's transform: MMSegmentation's.
_TRANSFORMS = {"LoadImage": "LoadImageFromFile", "LoadLabels": "LoadAnnotations"}
# Not every run has them.
_KEPT = ("default_scope", "env_cfg", "log_processor", "log_level", "tta_model")
_HOOKS = dict(
    timer=dict(type="IterTimerHook"),
    logger=dict(type="LoggerHook", interval=50, log_metric_by_epoch=False),
    sampler_seed=dict(type="DistSamplerSeedHook"),
    visualization=dict(type="SegVisualizationHook"),
)


@dataclass(frozen=True, kw_only=True)
class StockConfig:
    """A config and what its reader has to know.

    Attributes:
        cfg: The config.
        imports: Modules beside MMSegmentation that its parts come from.
        unread_labels: Why the test labels are left out; None where MMSegmentation reads them.
    """

    cfg: Config
    imports: tuple[str, ...]
    unread_labels: str | None

    def text(self) -> str:
        """The config's file: a header, then the config."""
        if self.imports:
            needs = f"It has parts of {', '.join(self.imports)}, which must be importable."
        else:
            needs = "MMSegmentation alone reads it."
        if self.unread_labels is None:
            labels = (
                "The test labels are class indices: MMSegmentation's tools/test.py evaluates it."
            )
        else:
            labels = (
                f"{self.unread_labels} MMSegmentation cannot read the test labels, so that neither their folder nor an "
                "evaluator is here: `mmdrsl test` evaluates with the config of the training."
            )
        lines = [f"Segmentor for inference and test, {WRITTEN_BY}.", "", needs]
        return '"""' + "\n".join([*lines, *wrap(labels, 110), '"""', "", self.cfg.pretty_text])


def stock_config(
    cfg: Config, *, classes: Sequence[str], palette: Sequence[Sequence[int]]
) -> StockConfig:
    """Reduce the config of an adaptation to its segmentor and its test, both of stock parts where these exist.

    Args:
        cfg: Config of an adaptation, with ``model.type`` UDASegmentor.
        classes: Names of the classes.
        palette: RGB color (0..255) per class.

    Returns:
        The config; ``mmseg.apis`` and MMSegmentation's own ``tools/test.py`` read it.

    Raises:
        ValueError: The config's model is not a UDASegmentor, or it has no test pipeline.
    """
    metainfo = dict(classes=list(classes), palette=[list(color) for color in palette])
    model = stock_model(cfg)
    dataset, unread = _stock_dataset(cfg, metainfo)
    pipeline = stock_pipeline(pipeline_of(cfg, tta=False), labels=unread is None)
    dataset["pipeline"] = pipeline
    content = {key: cfg[key] for key in _KEPT if key in cfg}
    content |= dict(
        metainfo=metainfo,
        visualizer=dict(
            type="SegLocalVisualizer",
            vis_backends=[dict(type="LocalVisBackend")],
            name="visualizer",
        ),
        default_hooks=_HOOKS,
        model=model,
        test_pipeline=pipeline,
        test_dataloader=dict(
            batch_size=1,
            num_workers=(cfg.get("test_dataloader") or {}).get("num_workers", 0),
            persistent_workers=False,
            sampler=dict(type="DefaultSampler", shuffle=False),
            dataset=dataset,
        ),
        load_from=None,
        resume=False,
    )
    if cfg.get("tta_pipeline"):
        content["tta_pipeline"] = stock_pipeline(cfg.tta_pipeline, labels=unread is None)
    if unread is None:
        content |= dict(
            test_cfg=dict(type="TestLoop"),
            test_evaluator=_stock_evaluator(cfg),
        )
    imports = _imports(content, cfg)
    if imports:
        content["custom_imports"] = dict(imports=list(imports), allow_failed_imports=False)
    return StockConfig(cfg=Config(content), imports=imports, unread_labels=unread)


def stock_model(cfg: Config) -> dict[str, Any]:
    """Config of the wrapped segmentor.

    Losses of this library give way to MMSegmentation's cross entropy: an exported network has no use for them.

    Args:
        cfg: As for `stock_config`.

    Returns:
        The config of the model, with the preprocessor of the adaptation.

    Raises:
        ValueError: The config's model is not a UDASegmentor.
    """
    if cfg.model.type != "UDASegmentor":
        raise ValueError(
            f"Expected a config whose model.type is UDASegmentor, found {cfg.model.type}."
        )
    space = cfg.model.get("label_space")
    # What the adaptation's config leaves out, a plain segmentor's has to say.
    segmentor, _ = complete_segmentor(
        cfg.model.segmentor,
        num_classes=None if space is None else len(get_label_space(space).classes),
        class_weight=None,
        crop_size=cfg.model.get("crop_size"),
    )
    for head in heads_of(segmentor):
        losses = head.get("loss_decode", ())
        if any(_own(loss) for loss in (losses if isinstance(losses, list | tuple) else [losses])):
            head["loss_decode"] = dict(type="CrossEntropyLoss")
    preprocessor = dict(cfg.model.data_preprocessor, type="SegDataPreProcessor")
    model = dict(segmentor, data_preprocessor=preprocessor)
    backbone = {key: value for key, value in model["backbone"].items() if key != "init_cfg"}
    if backbone.get("tuning") in MERGED_TUNING:
        # Its additions are part of exported weights.
        backbone["tuning"] = "full"
    model["backbone"] = backbone
    return model


def stock_pipeline(transforms: Sequence[Any], *, labels: bool) -> list[Any]:
    """Replace this library's transforms by MMSegmentation's.

    Args:
        transforms: Configs of the transforms of a test, or lists of them, as inside of ``TestTimeAug``.
        labels: Whether to load labels.

    Returns:
        The same transforms for MMSegmentation.
    """
    replaced: list[Any] = []
    for transform in transforms if labels else without_labels(transforms):
        if isinstance(transform, list | tuple):
            replaced.append(stock_pipeline(transform, labels=labels))
        elif transform["type"] in _TRANSFORMS:
            replaced.append(dict(type=_TRANSFORMS[transform["type"]]))
        elif "transforms" in transform:
            inner = stock_pipeline(transform["transforms"], labels=labels)
            replaced.append({**transform, "transforms": inner})
        else:
            replaced.append(dict(transform))
    return replaced


def _stock_dataset(cfg: Config, metainfo: Mapping[str, Any]) -> tuple[dict[str, Any], str | None]:
    """Config of the test images, with labels where MMSegmentation reads them, and why not where it does not."""
    # None where a run tests nothing.
    own = dict((cfg.get("test_dataloader") or {}).get("dataset", {}))
    kind = DATASETS.get(own["type"]) if own else None
    found: dict[str, Any] = dict(type="BaseSegDataset", metainfo=metainfo, test_mode=True)
    if "data_root" in own:
        found["data_root"] = own["data_root"]
    if kind is not None and _is_stock_dataset(kind):
        named = {**kind.METAINFO, **(own.get("metainfo") or {})}
        if list(named.get("classes") or ()) == metainfo["classes"]:
            return own, None
        found["data_prefix"] = dict(img_path=own.get("data_prefix", {}).get("img_path", ""))
        found["img_suffix"] = own.get("img_suffix", _usual_suffix(kind))
        found |= {key: own[key] for key in ("ann_file", "indices") if key in own}
        return found, f"The classes of {own['type']} are not the model's, or in another order."
    if kind is None or not issubclass(kind, LabelledImageDataset):
        prefix = own.get("data_prefix", {}).get("img_path", "")
        found["data_prefix"] = dict(img_path=prefix if isinstance(prefix, str) else prefix[0])
        reason = (
            f"The test set is a {own['type']}." if own else "The training's config has no test set."
        )
        return found, reason
    if own.get("file_patterns") or kind.FILE_PATTERNS:
        # An ending alone would take other files, too.
        del found["data_root"]
        found["data_prefix"] = dict(img_path="")
        return (
            found,
            f"{kind.__name__} finds files by file_patterns, so that no image is named here.",
        )
    dataset = DATASETS.build(dict(own, lazy_init=True, pipeline=[]))
    folders = {key: relpath(path, dataset.data_root) for key, path in dataset.data_prefix.items()}
    found["data_prefix"] = dict(img_path=folders["img_path"])
    found["img_suffix"] = dataset.img_suffix
    if own.get("ann_file"):
        found["ann_file"] = own["ann_file"]
    if own.get("indices") is not None:
        found["indices"] = own["indices"]
    if _names_files(dataset):
        # MMSegmentation appends the ending to every line.
        found["img_suffix"] = ""
        return found, "The list of the test set names files with their endings."
    if kind.label_name is not LabelledImageDataset.label_name:
        return found, f"{kind.__name__} pairs images and labels by a rule of its own."
    if list(dataset.metainfo["classes"]) != metainfo["classes"] or not _holds_class_indices(
        dataset
    ):
        return (
            found,
            f"The labels hold raw ids, which {kind.__name__} turns into classes by a table.",
        )
    found["data_prefix"]["seg_map_path"] = folders["seg_map_path"]
    found["seg_map_suffix"] = dataset.seg_map_suffix
    return found, None


def _is_stock_dataset(kind: type) -> bool:
    """Whether a dataset is MMSegmentation's, of images and labels in two folders."""
    return kind.__module__.partition(".")[0] in STOCK_PACKAGES and issubclass(kind, BaseSegDataset)


def _usual_suffix(kind: type) -> str:
    """End of the image names of a stock dataset whose config gives none."""
    usual = inspect.signature(BaseSegDataset).parameters["img_suffix"]
    return str(inspect.signature(kind).parameters.get("img_suffix", usual).default)


def _names_files(dataset: LabelledImageDataset) -> bool:
    """Whether a list of images names them with their ending; one that is elsewhere is taken to be without."""
    path = Path(dataset.ann_file)
    if not dataset.ann_file or not path.is_file():
        return False
    ending = dataset.img_suffix.lower()
    return any(line.strip().lower().endswith(ending) for line in path.read_text().splitlines())


def _holds_class_indices(dataset: LabelledImageDataset) -> bool:
    """Whether every raw id that a label may hold is the index of its class, or 255."""
    form = dataset.label_format
    lookup = form["label_lookup"]
    listed = np.flatnonzero(lookup >= 0)
    return form["label_channel"] is None and np.array_equal(lookup[listed], listed)


def _stock_evaluator(cfg: Config) -> Any:
    evaluator = cfg.get("test_evaluator")
    entries = evaluator if isinstance(evaluator, list | tuple) else [evaluator]
    if any(not entry or _own(entry) for entry in entries):
        return dict(type="IoUMetric", iou_metrics=["mIoU"])
    return evaluator


def _own(part: Mapping[str, Any]) -> str | None:
    """The module of a part that is none of the stock packages."""
    for registry in _REGISTRIES:
        kind = registry.get(part["type"]) if isinstance(part.get("type"), str) else None
        if kind is not None:
            module = str(kind.__module__)
            return None if module.partition(".")[0] in STOCK_PACKAGES else module
    return None


def _parts(config: Any) -> Iterator[Mapping[str, Any]]:
    """Everything in a config that names a type."""
    if isinstance(config, Mapping):
        if "type" in config:
            yield config
        config = config.values()
    elif not isinstance(config, list | tuple):
        return
    for value in config:
        yield from _parts(value)


def _imports(content: Any, cfg: Config) -> tuple[str, ...]:
    """Modules to import for the parts that are not stock: those that the training's config imports them by."""
    named = (cfg.get("custom_imports") or {}).get("imports", ())
    named = [named] if isinstance(named, str) else list(named)
    found = set()
    for module in filter(None, map(_own, _parts(content))):
        providers = [name for name in named if f"{module}.".startswith(f"{name}.")]
        found.add(providers[0] if providers else module)
    return tuple(sorted(found))
