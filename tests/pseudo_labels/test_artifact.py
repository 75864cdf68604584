import json
import os
import re

import numpy as np
import pytest
from PIL import Image

from mmdrsl.pseudo_labels.artifact import PseudoLabelArtifact, RoundManifest

PALETTE = [[128, 64, 128], [244, 35, 232], [70, 70, 70]]
IDS = ("a", "city/b", "city/c")


def manifest(images):
    return RoundManifest(
        round=2,
        model_hash="abc",
        classes=["road", "sidewalk", "building"],
        policy={"policy": "class_balanced", "scales": [1.0]},
        thresholds={"road": 0.9},
        kept_share={"road": 0.2},
        coverage=0.25,
        images=images,
    )


def content(index):
    generator = np.random.default_rng(index)
    labels = generator.choice([0, 1, 2, 255], size=(6, 8)).astype(np.uint8)
    return labels, generator.random((6, 8)).astype(np.float32)


@pytest.fixture
def artifact(tmp_path):
    result = PseudoLabelArtifact(tmp_path / "round_2")
    hashes = {
        name: result.write_image(name, *content(index), PALETTE) for index, name in enumerate(IDS)
    }
    result.finish(manifest(hashes))
    return result


@pytest.mark.parametrize("image_id", ["/data/real/a", "../a", "city/../../a"])
def test_ids_stay_inside(artifact, image_id):
    with pytest.raises(ValueError, match="leads out of"):
        artifact.write_image(image_id, *content(0), PALETTE)
    with pytest.raises(ValueError, match="leads out of"):
        artifact.label_path(image_id)


def test_only_pseudo_labels_are_cleared(artifact, tmp_path):
    (artifact.root / "notes.txt").write_text("mine")
    artifact.clear()
    assert [path.name for path in artifact.root.iterdir()] == ["notes.txt"]
    photos = tmp_path / "photos"
    (photos / "labels").mkdir(parents=True)
    (photos / "labels/a.png").write_bytes(b"precious")
    with pytest.raises(FileExistsError, match=r"holds \['labels'\], which are no pseudo labels"):
        PseudoLabelArtifact(photos).clear()
    assert (photos / "labels/a.png").read_bytes() == b"precious"
    (tmp_path / "new").mkdir()
    # A finished round without its manifest, and what a kill leaves while one is written.
    for folder in ("labels", "color", "confidence"):
        (tmp_path / "lost" / folder).mkdir(parents=True)
    (tmp_path / "killed").mkdir()
    (tmp_path / "killed/.manifest.json.12-34.tmp").write_text("{")
    for name in ("new", "none", "lost", "killed"):
        PseudoLabelArtifact(tmp_path / name).clear()
        assert not (tmp_path / name).exists()


def test_files(artifact):
    for index, name in enumerate(IDS):
        labels, confidence = content(index)
        stored = Image.open(artifact.label_path(name))
        assert stored.mode == "L"
        assert np.array_equal(np.asarray(stored), labels)
        color = np.asarray(Image.open(artifact.root / "color" / f"{name}.png").convert("RGB"))
        for value, rgb in [*enumerate(PALETTE), (255, [0, 0, 0])]:
            assert (color[labels == value] == rgb).all()
        gray = np.asarray(Image.open(artifact.root / "confidence" / f"{name}.png"))
        assert np.abs(gray / 255 - confidence).max() <= 0.5 / 255 + 1e-6


def test_manifest_round_trip(artifact):
    found = artifact.read_manifest()
    assert found == manifest(found.images)
    assert list(found.images) == list(IDS)
    assert artifact.problems(found) == []


def test_unfinished_folder_has_no_manifest(tmp_path):
    artifact = PseudoLabelArtifact(tmp_path / "round_1")
    assert artifact.read_manifest() is None
    artifact.write_image("a", *content(0), PALETTE)
    assert artifact.read_manifest() is None


def test_damaged_files_are_named(artifact):
    found = artifact.read_manifest()
    artifact.label_path("a").unlink()
    path = artifact.label_path("city/c")
    labels = np.asarray(Image.open(path)).copy()
    labels[0, 0] ^= 1
    Image.fromarray(labels).save(path)
    problems = artifact.problems(found)
    assert len(problems) == 2
    assert str(artifact.label_path("a")) in problems[0]
    assert "missing" in problems[0]
    assert str(path) in problems[1]
    assert "differs" in problems[1]


@pytest.fixture
def images(tmp_path):
    """Image files of the labels' size."""
    paths = {name: tmp_path / "images" / f"{name}.png" for name in IDS}
    for path in paths.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6)).save(path)
    return paths


CLASSES = ["road", "sidewalk", "building"]


def truncate(artifact, images):
    path = artifact.label_path("city/b")
    path.write_bytes(path.read_bytes()[:-30])
    return str(path)


def remove(artifact, images):
    artifact.label_path("city/b").unlink()
    return str(artifact.label_path("city/b"))


def resize_image(artifact, images):
    Image.new("RGB", (9, 6)).save(images["city/b"])
    return str(artifact.label_path("city/b"))


def add_image(artifact, images):
    images["new"] = images["a"]
    return str(artifact.label_path("new"))


def remove_manifest(artifact, images):
    (artifact.root / "manifest.json").unlink()
    return "never completed"


@pytest.mark.parametrize(
    ("damage", "options", "reason"),
    [
        (truncate, {}, "truncated"),
        (remove, {}, "missing"),
        (resize_image, {}, r"size \(8, 6\), but .* has \(9, 6\)"),
        (add_image, {}, "not in the manifest"),
        (remove_manifest, {}, "no manifest"),
        (None, dict(model_hash="def"), "made by another model"),
        (None, dict(classes=["road", "building", "sidewalk"]), "made for the classes"),
    ],
)
def test_artifact_that_does_not_fit_is_named(artifact, images, damage, options, reason):
    fitting = dict(classes=CLASSES, images=images, model_hash="abc")
    assert artifact.check(artifact.read_manifest(), **fitting) == []
    name = damage(artifact, images) if damage else "manifest.json"
    problems = artifact.check(artifact.read_manifest(), **{**fitting, **options})
    assert len(problems) == 1
    assert re.search(reason, problems[0])
    assert name in problems[0]


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "[]",
        lambda text: "{}",
        lambda text: json.dumps({**json.loads(text), "format": 99}),
        lambda text: json.dumps({**json.loads(text), "surplus": 1}),
        lambda text: json.dumps({k: v for k, v in json.loads(text).items() if k != "classes"}),
    ],
)
def test_unreadable_manifest(artifact, damage):
    path = artifact.root / "manifest.json"
    path.write_text(damage(path.read_text()))
    with pytest.raises(ValueError, match=r"Delete .* to label again") as error:
        artifact.read_manifest()
    assert str(path) in str(error.value)


def test_a_failing_write_keeps_the_old_manifest(artifact, monkeypatch):
    before = artifact.read_manifest()

    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no space"):
        artifact.finish(manifest({}))
    assert artifact.read_manifest() == before


def test_clear(artifact):
    artifact.clear()
    assert not artifact.root.exists()
    artifact.clear()


def test_a_name_with_a_colon(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "take 1: a.png")
    artifact = PseudoLabelArtifact(tmp_path / "round_1")
    (problem,) = artifact.check(
        manifest({"take 1: a": "0"}),
        classes=["road", "sidewalk", "building"],
        images={"take 1: a": tmp_path / "take 1: a.png"},
    )
    assert problem.endswith("take 1: a.png: missing")
