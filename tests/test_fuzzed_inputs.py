"""Lists, manifests, records, checkpoints and config entries with one fault each: never run, never silently wrong.

Every case is made from a seed. It is either refused by an error that names the file or the key, or what is read is
compared with what was written. Images and labels are in datasets/test_fuzzed_files.py.
"""

import copy
import io
import json
import os
import pickle
import re
from collections import Counter
from math import isfinite, nan

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.registry import DATASETS, HOOKS, MODELS, TASK_UTILS
from PIL import Image

from mmdrsl.argument_checks import _hints
from mmdrsl.checkpoints import read_checkpoint
from mmdrsl.datasets.validation import find_images
from mmdrsl.engine.config_options import override
from mmdrsl.engine.launch import read_config
from mmdrsl.engine.round_record import read_rounds
from mmdrsl.inference.shares import Shares
from mmdrsl.pseudo_labels.artifact import PseudoLabelArtifact, RoundManifest
from mmdrsl.translation.translated_folder import TranslatedFolder

# The first of ten parts is in the fast tier.
PARTS = [0, *(pytest.param(part, marks=pytest.mark.slow) for part in range(1, 10))]
CASES_PER_PART = dict(
    list=20, manifest=20, translation=15, rounds=15, shares=10, checkpoint=30, option=15, value=15
)
ANY_VALUE = (None, True, -1, 0, 1.5, 1e300, "x", "", "../../x", "/etc", [], [1], {}, {"a": 1}, nan)
DONE = Counter()


def generators(kind, part):
    for number in range(CASES_PER_PART[kind]):
        yield np.random.default_rng([part, number, *kind.encode()])


def pick(generator, values):
    return values[int(generator.integers(len(values)))]


def damaged_bytes(data, generator):
    """Bytes that are cut, changed, replaced, or no longer text."""
    how = generator.integers(6)
    if how == 0:
        return data[: generator.integers(len(data))]
    if how == 1:
        place = generator.integers(len(data))
        return (
            data[:place] + bytes([data[place] ^ (1 << generator.integers(8))]) + data[place + 1 :]
        )
    if how == 2:
        return generator.bytes(int(generator.integers(1, 300)))
    if how == 3:
        return b"\xff\xfe" + data
    if how == 4:
        return b"[" * 100_000
    return data + data


def places(content, path=()):
    """Every place inside a value of JSON."""
    items = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in items:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from places(value, (*path, key))


def damaged_json(content, generator):
    """A file with one value of another kind, one key missing or one too many, or with damaged bytes."""
    content = copy.deepcopy(content)
    how = generator.integers(4)
    if how == 3:
        return damaged_bytes(json.dumps(content).encode(), generator)
    *parents, last = pick(generator, list(places(content)))
    holder = content
    for key in parents:
        holder = holder[key]
    if how == 0:
        holder[last] = pick(generator, ANY_VALUE)
    elif how == 1:
        del holder[last]
    else:
        holder_of_names = holder if isinstance(holder, dict) else content
        holder_of_names[pick(generator, ("surplus", "../x", "-1"))] = pick(generator, ANY_VALUE)
    return json.dumps(content).encode()


def refused(action, name):
    """Whether an action is refused; an error of another kind or without the name is a failure."""
    try:
        action()
    except (ValueError, TypeError, FileNotFoundError) as caught:
        error = caught
    else:
        return False
    assert name in str(error), f"{type(error).__name__} without {name!r}: {error}"
    assert len(str(error)) > len(name) + 15
    return True


@pytest.mark.parametrize("part", PARTS)
def test_lists(tmp_path, part):
    names = [f"city/{index}.png" for index in range(6)]
    (tmp_path / "images/city").mkdir(parents=True)
    (tmp_path / "outside.png").write_bytes(b"")
    for name in names:
        (tmp_path / "images" / name).write_bytes(b"")
    path = tmp_path / "list.txt"
    for generator in generators("list", part):
        lines = list(names)
        how = generator.integers(8)
        place = int(generator.integers(len(lines)))
        if how == 0:
            lines[place] = pick(
                generator, ("../outside", str(tmp_path / "outside.png"), "gone", "city")
            )
        elif how == 1:
            lines[place] += pick(generator, ("\0", ".txt", "\\", " # comment", "/"))
        elif how == 2:
            lines.insert(place, pick(generator, ("", "  ", "\t")))
        elif how == 3:
            lines.append(lines[place])
        elif how == 4:
            del lines[: place + 1]
        data = pick(generator, ("\n", "\r\n")).join(lines).encode()
        if how >= 5:
            data = damaged_bytes(data, generator)
        path.write_bytes(data)
        found = []
        action = lambda: found.extend(find_images(str(tmp_path / "images"), (".png",), str(path)))  # noqa: E731, B023
        if not refused(action, "list.txt"):
            # Read again, by other means; what it says is what is taken.
            text = data.decode("utf-8").removeprefix("\ufeff")
            said = [
                line.strip()
                for line in re.split(r"\r\n|[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]", text)
            ]
            said = [os.path.normpath(name) for name in said if name]
            said = [name if name.endswith(".png") else f"{name}.png" for name in said]
            assert found == said
            assert set(found) <= set(names)
        DONE["list"] += 1


@pytest.fixture
def artifact(tmp_path):
    result = PseudoLabelArtifact(tmp_path / "round_1")
    labels, hashes, images = np.zeros((4, 6), np.uint8), {}, {}
    for name in ("a", "city/b"):
        hashes[name] = result.write_image(name, labels, labels, [[0, 0, 0], [9, 9, 9]])
        images[name] = tmp_path / f"{name.replace('/', '_')}.png"
        Image.new("RGB", (6, 4)).save(images[name])
    manifest = RoundManifest(
        round=1,
        model_hash="abc",
        classes=["road", "sky"],
        policy={"policy": "ClassBalancedPolicy", "scales": [1.0]},
        thresholds={"road": 0.9, "sky": 0.8},
        kept_share={"road": 0.2, "sky": 0.3},
        coverage=0.25,
        images=hashes,
        scores={"entropy": 0.4},
    )
    result.finish(manifest)
    return result, images


@pytest.mark.parametrize("part", PARTS)
def test_manifests_of_labels(artifact, part):
    folder, images = artifact
    path = folder.root / "manifest.json"
    good = json.loads(path.read_text())
    for generator in generators("manifest", part):
        path.write_bytes(damaged_json(good, generator))
        found = []
        if refused(lambda: found.append(folder.read_manifest()), "manifest.json"):  # noqa: B023
            continue
        (manifest,) = found
        problems = folder.check(manifest, classes=["road", "sky"], images=images, model_hash="abc")
        assert all(str(folder.root) in problem for problem in problems)
        if not problems:
            # The labels are those of these images; what else is said of them is of its kind.
            assert manifest.images == good["images"]
            numbers = [manifest.coverage, *manifest.thresholds.values(), *manifest.scores.values()]
            assert all(isfinite(number) for number in numbers)
            assert isinstance(manifest.policy, dict)
            assert isinstance(manifest.round, int)
    DONE["manifest"] += CASES_PER_PART["manifest"]


@pytest.mark.parametrize("part", PARTS)
def test_manifests_of_translations(tmp_path, part):
    folder = TranslatedFolder(tmp_path / "translated")
    folder.begin({"translator": "lab"})
    source = tmp_path / "source.png"
    Image.new("RGB", (6, 4)).save(source)
    picture = np.zeros((4, 6, 3), np.uint8)
    entries = {
        name: folder.write(name, picture, source=source, reference=None) for name in ("a", "c/b")
    }
    folder.finish({"translator": "lab"}, entries)
    path = folder.root / "manifest.json"
    good = json.loads(path.read_text())
    for generator in generators("translation", part):
        path.write_bytes(damaged_json(good, generator))
        found = []
        if refused(lambda: found.append(folder.read_manifest()), "manifest.json"):  # noqa: B023
            continue
        for entry in found[0]["images"].values():
            held = folder.holds(entry)
            assert held == (entry.sha256 == good["images"]["a"]["sha256"] and entry.file in (
                "images/a.png", "images/c/b.png",
            ))  # fmt: skip
            assert isinstance(entry.width, int)
            assert isinstance(entry.source, str)
    DONE["translation"] += CASES_PER_PART["translation"]


@pytest.mark.parametrize("part", PARTS)
def test_records_of_rounds(tmp_path, part):
    good = {
        "0": {"iteration": 4, "metrics": {"mIoU": 12.5, "IoU.sky": None}},
        "1": {"labels": {"coverage": 0.3, "scores": {}}, "iteration": 6, "metrics": {"mIoU": 14}},
    }
    path = tmp_path / "rounds.json"
    for generator in generators("rounds", part):
        path.write_bytes(damaged_json(good, generator))
        found = []
        if refused(lambda: found.append(read_rounds(tmp_path)), "rounds.json"):  # noqa: B023
            continue
        for number, entry in found[0].items():
            assert int(number) >= 0
            values = [value for value in entry.get("metrics", {}).values() if value is not None]
            assert all(isfinite(value) for value in values)
            assert isfinite(entry.get("labels", {}).get("coverage", 0))
            assert "metrics" not in entry or isinstance(entry["iteration"], int)
    DONE["rounds"] += CASES_PER_PART["rounds"]


@pytest.mark.parametrize("part", PARTS)
def test_tables_of_shares(tmp_path, part):
    path = tmp_path / "shares.csv"
    good = "name,frame,road,sky\na,,0.250000,0.750000\nb,0,1.000000,0.000000\n"
    for generator in generators("shares", part):
        data = damaged_bytes(good.encode(), generator)
        path.write_bytes(data)
        found = []
        action = lambda: found.append(Shares(path, ("road", "sky")))  # noqa: E731, B023
        if not refused(action, "shares.csv"):
            found[0].save()
            kept = set(path.read_text().splitlines())
            assert kept <= set(data.decode().splitlines()) | {good.splitlines()[0]}
    DONE["shares"] += CASES_PER_PART["shares"]


class Payload:
    """Pickled as a call of a function that would make a file."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def payloads(flag):
    text = f"open({str(flag)!r}, 'w').close()"
    return [
        Payload(os.mkdir, str(flag)),
        Payload(os.system, f"touch {flag}"),
        Payload(eval, text),
        Payload(exec, text),
        Payload(open, str(flag), "w"),
        Payload(getattr, Payload(__import__, "os"), "mkdir"),
        Payload(np.load, str(flag)),
        Payload(pickle.loads, pickle.dumps(Payload(os.mkdir, str(flag)))),
        Payload(torch.load, str(flag)),
    ]


def saved(content, generator):
    file = io.BytesIO()
    how = generator.integers(3)
    if how == 2:
        return pickle.dumps(content)
    torch.save(content, file, _use_new_zipfile_serialization=bool(how))
    return file.getvalue()


@pytest.mark.parametrize("part", PARTS)
def test_checkpoints(tmp_path, part):
    weights = {"layer.weight": torch.arange(6.0).reshape(2, 3), "layer.bias": torch.ones(2)}
    good = {
        "state_dict": weights,
        "meta": {"iter": 4, "dataset_meta": {"classes": ("road", "sky")}},
    }
    flag, path = tmp_path / "executed", tmp_path / "iter_4.pth"
    for generator in generators("checkpoint", part):
        content = {**good, "meta": dict(good["meta"])}
        how = generator.integers(6)
        if how <= 2:
            # A payload beside the weights, in their place, or inside.
            payload = pick(generator, payloads(flag))
            place = pick(generator, ("meta", "state_dict", "optimizer", ""))
            content = payload if place == "" else {**content, place: {"layer.weight": payload}}
            data = saved(content, generator)
        elif how == 3:
            file = io.BytesIO()
            torch.save(content, file)
            data = bytearray(file.getvalue())
            data[generator.integers(len(data))] ^= 1 << generator.integers(8)
        elif how == 4:
            data = saved(content, generator)
            data = data[: generator.integers(len(data) - 1)]
        else:
            other = pick(
                generator, (b"", b"\x80", b"<html>404</html>", generator.bytes(500), b"PK\x03\x04")
            )
            stranger = pick(generator, (weights["layer.bias"], [1, 2], "text", 5, None))
            data = pick(generator, (other, saved(stranger, generator)))
        path.write_bytes(bytes(data))
        found = []
        if not refused(lambda: found.append(read_checkpoint(path)), "iter_4.pth"):  # noqa: B023
            assert how == 3, (how, found)
            read = found[0].get("state_dict", {})
            assert read.keys() == weights.keys()
            assert all(torch.equal(read[name], weights[name]) for name in weights)
        assert not flag.exists(), "a payload was executed"
        DONE["checkpoint"] += 1


DRSL = "configs/drsl/deeplabv3plus_scenes2scenes.py"


@pytest.fixture(scope="module")
def drsl():
    return read_config(DRSL)


def keys_of(value, path=()):
    """Dotted names of all entries, lists included."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, entry in items:
        name = (*path, str(key))
        yield ".".join(name)
        if isinstance(entry, dict | list):
            yield from keys_of(entry, name)


@pytest.mark.parametrize("part", PARTS)
def test_names_of_options(drsl, part):
    """One letter of a name is changed, doubled or left out."""
    plain = drsl.to_dict()
    read = ("model", "default_hooks", "train_dataloader", "optim_wrapper", "train_cfg")
    names = [
        name for name in keys_of({key: plain[key] for key in read}) if "custom_keys" not in name
    ]
    known = set(keys_of(plain))
    for generator in generators("option", part):
        name = pick(generator, names)
        letters = [place for place, letter in enumerate(name) if letter.isalpha()]
        place = pick(generator, letters)
        letter = pick(generator, "qxz")
        changed = pick(
            generator,
            (name[:place] + name[place + 1 :], name[:place] + letter + name[place + 1 :],
             name[:place] + letter + name[place:]),
        )  # fmt: skip
        if changed in known or changed.endswith(".") or ".." in changed:
            continue
        cfg = Config(copy.deepcopy(plain))
        assert refused(lambda: override(cfg, {changed: 1}), changed), changed  # noqa: B023
        assert cfg.to_dict() == plain
    DONE["option"] += CASES_PER_PART["option"]


def entries_with_types(value):
    """Every entry that is built as a class of this project, with its registry."""
    if isinstance(value, dict):
        for registry in (HOOKS, MODELS, DATASETS, TASK_UTILS):
            found = registry.get(str(value.get("type", ""))) if "type" in value else None
            if found is not None and found.__module__.startswith("mmdrsl."):
                yield registry, found, value
                break
        for entry in value.values():
            yield from entries_with_types(entry)
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from entries_with_types(entry)


WRONG = {int: ("many", 1.5, -3, True, None, [1]), float: ("much", nan, True, None, [0.5]),
         bool: ("yes", 2, None), str: (7, 1.5, [1])}  # fmt: skip


@pytest.mark.parametrize("part", PARTS)
def test_values_of_entries(drsl, part):
    """One value of another kind in an entry of the config."""
    entries = [
        (registry, found, entry, name, kind)
        for registry, found, entry in entries_with_types(drsl.to_dict())
        for name, kind in _hints(found.__init__).items()
        # What a class of MMEngine takes is MMEngine's to judge.
        if kind in WRONG and name != "return" and hasattr(found.__init__, "__wrapped__")
    ]
    assert len(entries) > 30
    for generator in generators("value", part):
        registry, _, entry, name, kind = pick(generator, entries)
        value = pick(generator, WRONG[kind])
        config = {**entry, name: value}
        assert refused(lambda: registry.build(config), f".{name} is {value!r}"), config  # noqa: B023
    DONE["value"] += CASES_PER_PART["value"]


def test_there_were_enough_cases():
    if set(DONE) != set(CASES_PER_PART):
        pytest.skip("only some of the tests of this file ran")
    assert DONE.total() >= 120
