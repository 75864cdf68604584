"""The text of the config of a pair."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from mmdrsl.datasets.label_spaces import LABEL_SPACES
from mmdrsl.installation import configs_folder
from mmdrsl.new_pair.choices import Choices
from mmdrsl.new_pair.class_file import PairClasses
from mmdrsl.new_pair.look import Images, Labeled, Videos

# Of the labeled images, where a few of the target are among them.
_SHARE_OF_TARGET_LABELS = 0.2


def config_text(
    *,
    path: Path,
    command: str,
    classes: PairClasses,
    choices: Choices,
    source: Labeled,
    target: Images | Videos,
    validation: Labeled | None,
    target_labels: Labeled | None,
    lists: Mapping[str, Path],
) -> str:
    """Write the config of a training.

    Args:
        path: Where it will be, for the paths of its bases.
        command: The command that made it.
        classes: Classes and label table.
        choices: Network, sizes and schedule.
        source: Labeled source images.
        target: Unlabeled target images or videos.
        validation: Labeled images of the target for the evaluation; None for none.
        target_labels: Labeled images of the target that are learned from; None for none.
        lists: Files that list the images or videos that are taken, by name of the dataset in the config; others take
            all of their folder.

    Returns:
        Python.
    """
    label_space = dict(classes.label_space)
    if label_space["name"] in LABEL_SPACES:
        label_space["name"] = f"pair_{label_space['name']}"
    bases = {
        "models": choices.model,
        "pairs": "street_pair",
        "schedules": choices.schedule,
        "methods": choices.method,
    }
    base_lines = [f"    {_base(path, folder, name)!r}," for folder, name in bases.items()]
    optimizer = []
    if choices.transformer_optimizer:
        base_lines.append(f"    {_base(path, 'schedules', 'transformer_optimizer')!r},")
        optimizer = [
            "optim_wrapper = _base_.transformer_optim_wrapper",
            "param_scheduler = _base_.transformer_param_scheduler",
        ]
    why = choices.reasons
    width, height = choices.scale
    large = max(target.size) > max(choices.scale)
    resize = f'dict(type="Resize", scale={choices.scale}, keep_ratio=True)'
    test_pipeline = [
        'dict(type="LoadImage")',
        *([resize] if large else []),
        'dict(type="LoadLabels")',
        'dict(type="PackSegInputs")',
    ]
    labeling = [
        'dict(type="LoadImage")',
        *([resize] if large else []),
        'dict(type="PackSegInputs", meta_keys=("img_path", "ori_shape", "img_shape", "sample_id"))',
    ]
    lines = [
        f'"""{choices.model}, {choices.method}: a pair of your own. Change what you like: this file is yours."""',
        "",
        "# Made by this command; not run yet.",
        # Comments, since a path may hold what ends or changes a string.
        *(f"# {line}" for line in command.splitlines()),
        "",
        "_base_ = [",
        *base_lines,
        "]",
        f"# Network: {why['model']}. Method: {why['method']}. Schedule: {why['schedule']}.",
        *optimizer,
        f"label_space = {_mapping(label_space)}",
        "# What the label files store.",
        f"table = {_mapping(classes.table)}",
        f"# {_sentence(why['scale'])}",
        f"scale = {(width, height)}",
        f"# {_sentence(why['crop'])}",
        f"crop_size = {choices.crop}",
        "augmentation = [",
        '    dict(type="RandomResize", scale=scale, ratio_range=(1.0, 1.5), keep_ratio=True),',
        '    dict(type="RandomCrop", crop_size=crop_size, cat_max_ratio=0.75),',
        '    dict(type="RandomFlip", prob=0.5),',
        '    dict(type="PhotoMetricDistortion"),',
        '    dict(type="PackSegInputs"),',
        "]",
        'labeled_pipeline = [dict(type="LoadImage"), dict(type="LoadLabels"), *augmentation]',
        f"# {len(source.images.names)} images.",
        *_labeled("source_dataset", source, "labeled_pipeline", lists),
    ]
    source_entry = "source=source_dataset"
    if target_labels is not None:
        lines += [
            f"# {len(target_labels.images.names)} labeled images of the target: a share of all labeled images.",
            *_labeled("target_labels", target_labels, "labeled_pipeline", lists),
            "labeled_sets = dict(",
            '    type="LabeledSets",',
            "    datasets=[source_dataset, target_labels],",
            f"    shares=[{1 - _SHARE_OF_TARGET_LABELS}, {_SHARE_OF_TARGET_LABELS}],",
            ")",
        ]
        source_entry = "source=labeled_sets"
    lines += [
        *_target(target, lists),
        "train_dataloader = dict(",
        f"    # {_sentence(why['batch_size'])}",
        f"    batch_size={choices.batch_size},",
        "    num_workers=2,",
        f"    dataset=dict({source_entry}, target=target_dataset),",
        ")",
    ]
    lines += [
        "# For evaluation and prediction.",
        "test_pipeline = [",
        *(f"    {each}," for each in test_pipeline),
        "]",
        *(_views(choices.scale) if large else []),
    ]
    if validation is None:
        lines += [
            "# Nothing is evaluated: no labeled image of the target was given (--val).",
            "val_dataloader = None",
            "val_evaluator = None",
            "test_dataloader = None",
            "test_evaluator = None",
        ]
    else:
        lines += [
            f"# {len(validation.images.names)} images, for the evaluation alone.",
            *_labeled("val_dataset", validation, "test_pipeline", lists, test_mode=True),
            "val_dataloader = dict(dataset=val_dataset)",
            "test_dataloader = val_dataloader",
        ]
    lines += [
        "model = dict(label_space=label_space, crop_size=crop_size, **_base_.method)",
        "labeling_pipeline = [",
        *(f"    {each}," for each in labeling),
        "]",
        *_hooks(choices.method),
    ]
    return "\n".join(lines) + "\n"


def _base(path: Path, folder: str, name: str) -> str:
    """Path of a base, relative where the config lies beside the checkout's configs.

    MMEngine takes ``..`` as text, so links stay as they are.
    """
    base = configs_folder() / "_base_" / folder / f"{name}.py"
    relative = Path(os.path.relpath(base, os.path.abspath(path.parent)))
    return relative.as_posix() if relative.parts.count("..") < 4 else str(base)


def _hooks(method: str) -> list[str]:
    """The hooks: rounds of self-training with what the method changes in them, and the method's own."""
    cfg = Config.fromfile(configs_folder() / "_base_" / "methods" / f"{method}.py")
    hooks = cfg.get("method_hooks", {})
    if method == "source_only":
        return ["default_hooks = dict(_base_.runtime_hooks, _delete_=True)"]
    own = dict(hooks.get("self_training", {}))
    labeler = {"flip": True, "prediction_stride": 2, **own.pop("labeler", {})}
    return [
        "default_hooks = dict(",
        "    self_training=dict(",
        '        type="SelfTrainingHook",',
        "        warmup_iterations=_base_.warmup_iterations,",
        "        rounds=_base_.rounds,",
        f"        labeler={_plain(labeler)!r},",
        "        pipeline=labeling_pipeline,",
        *(f"        {key}={_plain(value)!r}," for key, value in own.items()),
        "    ),",
        *(
            f"    {name}={_plain(hook)!r},"
            for name, hook in hooks.items()
            if name != "self_training"
        ),
        ")",
    ]


def _plain(value: Any) -> Any:
    """The value of a config as plain Python."""
    return ConfigDict(value).to_dict() if isinstance(value, Mapping) else value


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def _mapping(values: Mapping[str, Any]) -> str:
    """A mapping as ``dict(...)`` over several lines."""
    entries = "".join(f"    {key}={value!r},\n" for key, value in values.items())
    return f"dict(\n{entries})"


def _labeled(
    name: str,
    found: Labeled,
    pipeline: str,
    lists: Mapping[str, Path],
    *,
    test_mode: bool = False,
) -> list[str]:
    """A labeled dataset; both folders go by absolute paths, so that the config works from anywhere."""
    root = Path(os.path.commonpath([found.images.folder.resolve(), found.folder.resolve()]))
    prefix = {
        "img_path": os.path.relpath(found.images.folder.resolve(), root),
        "seg_map_path": os.path.relpath(found.folder.resolve(), root),
    }
    lines = [
        f"{name} = dict(",
        '    type="LabelledImageDataset",',
        f"    data_root={str(root)!r},",
        f"    data_prefix={prefix!r},",
        *_listed(name, lists),
        *(f"    {key}={value!r}," for key, value in found.naming.options().items()),
        "    label_space=label_space,",
        "    table=table,",
    ]
    if test_mode:
        lines.append("    test_mode=True,")
    return [*lines, f"    pipeline={pipeline},", ")"]


def _views(scale: tuple[int, int]) -> list[str]:
    """The views of ``--tta`` at street_pair.py's ratios of the size at which images are tested."""
    sizes = [tuple(round(ratio * side) for side in scale) for ratio in (0.75, 1.0, 1.25)]
    return [
        "tta_pipeline = [",
        '    dict(type="LoadImage"),',
        "    dict(",
        '        type="TestTimeAug",',
        "        transforms=[",
        "            [",
        *(f'                dict(type="Resize", scale={size}, keep_ratio=True),' for size in sizes),
        "            ],",
        "            [",
        '                dict(type="RandomFlip", prob=0.0, direction="horizontal"),',
        '                dict(type="RandomFlip", prob=1.0, direction="horizontal"),',
        "            ],",
        '            [dict(type="LoadLabels")],',
        '            [dict(type="PackSegInputs")],',
        "        ],",
        "    ),",
        "]",
    ]


def _listed(name: str, lists: Mapping[str, Path]) -> list[str]:
    return [f"    ann_file={os.path.abspath(lists[name])!r},"] if name in lists else []


def _target(target: Images | Videos, lists: Mapping[str, Path]) -> list[str]:
    """The unlabeled target."""
    if isinstance(target, Images):
        head = [
            f"# {len(target.names)} images.",
            "target_dataset = dict(",
            '    type="UnlabelledDataset",',
        ]
    else:
        head = [
            f"# {len(target.names)} videos; every tenth frame is written once as JPEG, see VideoDataset.",
            "target_dataset = dict(",
            '    type="VideoDataset",',
            "    every=10,",
        ]
    return [
        *head,
        f"    data_root={str(target.folder.resolve())!r},",
        *_listed("target_dataset", lists),
        "    label_space=label_space,",
        '    pipeline=[dict(type="LoadImage"), dict(type="LoadPseudoLabels"), *augmentation],',
        ")",
    ]
