"""Labeled images on which a benchmark evaluates: a folder whose classes are found by name, or those of a config."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmdrsl.atomic_files import file_hash, read_json
from mmdrsl.datasets.inspection.config_domains import datasets_of
from mmdrsl.datasets.inspection.domain_report import list_files
from mmdrsl.datasets.label_spaces import IGNORE_INDEX, LabelSpace, get_label_space

_SUFFIXES = (".png", ".jpg", ".jpeg")
COMMON_CLASSES = "common_classes.json"
SEQUENCE = r"^([^_]+)_"
"""The sequence of an image, from its name."""


@dataclass(frozen=True, kw_only=True)
class EvaluationSet:
    """Images with labels.

    Attributes:
        name: Folder and list, without the way there, which differs between machines.
        dataset: Config of their dataset, without pipeline and label space.
        images: Number of images.
        has_sequences: Whether all names begin with that of a sequence and an underscore, and not each with another.
        identity: Hash of list, images, labels, weight, and of the classes where the folder names them: equal where a
            network's results are.
        target_weight: Weight of the unlabeled target in the statistics under which a network predicts; None for those
            of its checkpoint.
    """

    name: str
    dataset: dict[str, Any]
    images: int
    has_sequences: bool
    identity: str
    target_weight: float | None = None

    @property
    def title(self) -> str:
        """The name, and the statistics."""
        if self.target_weight is None:
            return self.name
        return f"{self.name}, weight {self.target_weight} of the target in the statistics"


def read_evaluation_set(
    folder: Path, split: str, *, label_space: str, data: Path, target_weight: float | None = None
) -> EvaluationSet:
    """Read a labeled folder and map its classes onto those of a model.

    It has ``images/``, ``labels/<name>.png``, ``classes.json`` and ``<split>.txt``. Ids of ``classes.json`` meet the
    classes of the label space by name: over ``to_common`` and ``common_classes.json`` (in the folder, beside it, or in
    the benchmark) where an id has an entry there, else by its own name, else it must be among ``ignore_ids``.

    Args:
        folder: The folder.
        split: Name of the list, without ``.txt``.
        label_space: Label space of the models.
        data: Folder of the benchmark.
        target_weight: Weight of the unlabeled target in the statistics of prediction, in (0, 1]; None for none.

    Returns:
        The set.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: A class is unknown, the images are of several types, or the weight is impossible.
    """
    _check_weight(target_weight)
    folder = folder.resolve()
    listed = _existing(folder / f"{split}.txt", "the list of images")
    description = _names_of_ids(_existing(folder / "classes.json", "names of the ids"))
    for entry, kind, example in (("to_common", dict, '{"8": 0}'), ("ignore_ids", list, "[8]")):
        if not isinstance(description.get(entry, kind()), kind):
            raise ValueError(
                f"{folder / 'classes.json'}: {entry} is {description[entry]!r}, expected such as {example}."
            )
    candidates = [folder / COMMON_CLASSES, folder.parent / COMMON_CLASSES, data / COMMON_CLASSES]
    common = next((path for path in candidates if path.is_file()), None)
    table = {str(key): str(name) for key, name in description["ids"].items()}
    renames = _renames(
        table, description, _common_names(common), get_label_space(label_space), folder
    )
    names = [line.strip() for line in listed.read_text().splitlines() if line.strip()]
    if not names:
        raise ValueError(f"{listed} is empty: expected one image name per line.")
    repeated = [name for name, count in Counter(map(_stem, names)).items() if count > 1]
    if repeated:
        raise ValueError(f"{listed} lists {repeated[:5]} more than once: list each image once.")
    suffix = _image_suffix(folder, names)
    digest = hashlib.sha256(json.dumps([names, table, renames]).encode())
    for name in names:
        stem = _stem(name)
        label = _existing(folder / "labels" / f"{stem}.png", "a label")
        for file in (label, folder / "images" / f"{stem}{suffix}"):
            digest.update(bytes.fromhex(file_hash(file)))
    if target_weight is not None:
        digest.update(f"target_weight {target_weight}".encode())
    return EvaluationSet(
        name=f"{folder.name}/{split}",
        dataset=dict(
            type="LabelledImageDataset",
            data_root=str(folder),
            ann_file=f"{split}.txt",
            img_suffix=suffix,
            table=dict(name=f"{folder.name}/classes.json", ids=table),
            renames=renames,
        ),
        images=len(names),
        has_sequences=_have_sequences(names),
        identity=digest.hexdigest()[:16],
        target_weight=target_weight,
    )


def configured_evaluation_set(
    template: Config, *, target_weight: float | None = None
) -> EvaluationSet:
    """The validation images of a config.

    Args:
        template: A method's config.
        target_weight: As for `read_evaluation_set`.

    Returns:
        The set.

    Raises:
        FileNotFoundError: Images or labels are missing.
        ValueError: The weight is impossible.
    """
    _check_weight(target_weight)
    files = [info for dataset in datasets_of(template)["val"] for info in list_files(dataset)]
    digest = hashlib.sha256()
    for info in files:
        digest.update(Path(info["img_path"]).name.encode())
        for file in (info["img_path"], info["seg_map_path"]):
            digest.update(bytes.fromhex(file_hash(_existing(Path(file), "a file"))))
    if target_weight is not None:
        digest.update(f"target_weight {target_weight}".encode())
    usual = dict(template.val_dataloader.dataset)
    return EvaluationSet(
        name=f"{Path(usual['data_root']).name}/val",
        dataset={
            key: value for key, value in usual.items() if key not in ("label_space", "pipeline")
        },
        images=len(files),
        has_sequences=_have_sequences([info["img_path"] for info in files]),
        identity=digest.hexdigest()[:16],
        target_weight=target_weight,
    )


def use_evaluation_set(cfg: Config, template: Config, chosen: EvaluationSet) -> None:
    """Let a config test on a set, scored at the full size of its labels.

    Args:
        cfg: Config of a run, changed in place.
        template: The method's config, for test pipeline, label space and metric.
        chosen: The set.
    """
    usual = template.val_dataloader.dataset
    dataset = {
        **chosen.dataset,
        "label_space": usual.label_space,
        "test_mode": True,
        "pipeline": usual.pipeline,
    }
    cfg.test_cfg = dict(type="TestLoop")
    cfg.test_dataloader = dict(
        batch_size=1,
        num_workers=1,
        persistent_workers=False,
        sampler=dict(type="DefaultSampler", shuffle=False),
        dataset=dataset,
    )
    pattern = SEQUENCE if chosen.has_sequences else None
    cfg.test_evaluator = {**template.val_evaluator, "group_pattern": pattern}


def use_target_statistics(cfg: Config, template: Config, target_weight: float) -> None:
    """Let a config test under statistics of normalization that hold the unlabeled target with a weight.

    Args:
        cfg: Config of a run, changed in place.
        template: The method's config, for the unlabeled target images and how they are labeled.
        target_weight: The weight, in (0, 1].
    """
    hook = dict(
        type="TestTimeBNHook",
        dataset=template.target_dataset,
        target_weight=target_weight,
        # At the size at which the network labels and predicts.
        pipeline=template.get("labeling_pipeline"),
    )
    cfg.custom_hooks = [*cfg.get("custom_hooks", ()), hook]


def _check_weight(target_weight: float | None) -> None:
    if target_weight is not None and not 0 < target_weight <= 1:
        raise ValueError(f"the weight of the target must be in (0, 1], found {target_weight}.")


def _existing(path: Path, what: str) -> Path:
    if not path.is_file():
        raise FileNotFoundError(f"there is no {path}, {what} of the evaluation data.")
    return path


def _have_sequences(names: list[str]) -> bool:
    matches = [re.search(SEQUENCE, Path(name).name) for name in names]
    sequences = {match.group(1) for match in matches if match is not None}
    # Numbered images, such as KITTI's 000000_10, are no sequences of one image each.
    return None not in matches and len(sequences) < len(names)


def _stem(name: str) -> str:
    suffix = Path(name).suffix
    return name[: -len(suffix)] if suffix.lower() in _SUFFIXES else name


def _image_suffix(folder: Path, names: list[str]) -> str:
    """The one ending that all images have."""
    suffixes = set()
    for name in names:
        stem = _stem(name)
        if stem != name:
            _existing(folder / "images" / name, "an image that the list names")
        found = [end for end in _SUFFIXES if (folder / "images" / f"{stem}{end}").is_file()]
        if len(found) != 1:
            raise FileNotFoundError(
                f"{folder / 'images'} has {len(found)} files for {stem!r}, expected one with an ending of "
                f"{list(_SUFFIXES)}."
            )
        suffixes.add(found[0])
    if len(suffixes) != 1:
        raise ValueError(f"{folder / 'images'} mixes {sorted(suffixes)}: convert them to one type.")
    return suffixes.pop()


def _common_names(path: Path | None) -> dict[str, str]:
    """Class name by common id; empty where there is no such file."""
    if path is None:
        return {}
    return {str(key): str(name) for key, name in _names_of_ids(path)["ids"].items()}


def _names_of_ids(path: Path) -> dict[str, Any]:
    """Content of a file that names ids."""
    content = read_json(path, kind="table of names", remedy="Expected the name of every id")
    if not isinstance(content.get("ids"), dict):
        raise ValueError(
            f"{path} has no 'ids': expected the name of every id, such as "
            '{"ids": {"0": "sky"}}.'
        )
    return content


def _renames(
    table: dict[str, str],
    description: dict[str, Any],
    common: dict[str, str],
    space: LabelSpace,
    folder: Path,
) -> dict[str, str | None]:
    to_common = {str(key): str(value) for key, value in description.get("to_common", {}).items()}
    ignored = {str(value) for value in description.get("ignore_ids", ())}
    strangers = sorted(set(to_common) - set(table))
    if strangers:
        raise ValueError(
            f"{folder / 'classes.json'}: to_common maps ids {strangers}, which ids does not name."
        )
    renames: dict[str, str | None] = {}
    for raw_id, name in table.items():
        target: str | None
        if to_common.get(raw_id) == str(IGNORE_INDEX):
            target = None
        elif raw_id in to_common:
            target = common.get(to_common[raw_id])
            if target is None:
                raise ValueError(
                    f"{folder / 'classes.json'}: to_common maps {name!r} to {to_common[raw_id]}, which "
                    f"{COMMON_CLASSES} does not name; it has {common or 'no ids, or is missing'}."
                )
        elif name in space.classes:
            target = name
        elif raw_id in ignored:
            target = None
        else:
            raise ValueError(
                f"{folder / 'classes.json'}: unknown class {name!r} (id {raw_id}); give it an entry in to_common or "
                f"in ignore_ids, or one of the names {list(space.classes)}."
            )
        if target is not None and target not in space.classes:
            raise ValueError(
                f"{folder / 'classes.json'}: {name!r} is mapped to {target!r}, which is no class of "
                f"'{space.name}': {list(space.classes)}."
            )
        if renames.setdefault(name, target) != target:
            raise ValueError(
                f"{folder / 'classes.json'}: two ids named {name!r} are mapped to {renames[name]!r} and {target!r}; "
                "name them apart."
            )
    return renames
