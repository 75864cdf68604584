"""Tools that look at trained modes: agreement with true sub-types, and maps of both domains."""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS

from mmdrsl.scenes.writer import write_scenes

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "analysis_tools"))
import mode_maps  # noqa: E402
import mode_purity  # noqa: E402

# An untrained decoder says the same of every pixel, an untrained backbone does not.
CONFIG = str(ROOT / "configs/drsl/deeplabv3plus_scenes2scenes.py")
IN_INDEX = "model.heads.mmdl.in_index"
PLAIN = str(ROOT / "configs/self_training/deeplabv3plus_scenes2scenes.py")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    root = tmp_path_factory.mktemp("scenes") / "set"
    write_scenes(
        out_dir=root, num_game=3, num_camera_train=1, num_camera_val=3, image_size=(128, 64)
    )
    return root


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Checkpoints of untrained models by name: with two modes, with three, without any."""
    folder, found = tmp_path_factory.mktemp("untrained"), {}
    for name, path, num_modes in (("two", CONFIG, 2), ("three", CONFIG, 3), ("plain", PLAIN, None)):
        cfg = Config.fromfile(path)
        if num_modes:
            cfg.model.heads.mmdl.update(num_modes=num_modes, in_index=3)
        torch.manual_seed(0)
        found[name] = str(folder / f"{name}.pth")
        torch.save(dict(state_dict=MODELS.build(cfg.model).state_dict(), meta={}), found[name])
    return found


@pytest.fixture
def untrained(checkpoints, scenes, monkeypatch):
    monkeypatch.setenv("MMDRSL_SCENES", str(scenes))
    return checkpoints


def call(tool, monkeypatch, *options):
    arguments = [*map(str, options), "--cfg-options", f"{IN_INDEX}=3"]
    monkeypatch.setattr(sys, "argv", ["tool", *arguments])
    tool.main()


def pixels(modes, features, classes, subtypes):
    columns = (features, features[:, ::-1], modes, classes, subtypes)
    return mode_purity.Pixels(*(np.asarray(value) for value in columns))


def test_scores_know_real_modes_from_chance():
    rng = np.random.default_rng(0)
    subtypes = rng.integers(0, 3, 600)
    classes = np.repeat([0, 1, 2], 200)
    subtypes[classes == 2] = 7
    # Modes name the sub-type in class 0 and nothing in class 1; features are the other way round.
    modes = np.where(classes == 0, (subtypes + 1) % 3, rng.integers(0, 3, 600))
    informed = np.where(classes == 1, subtypes, rng.integers(0, 3, 600))
    features = np.eye(3)[informed] + 0.01 * rng.normal(size=(600, 3))
    own = dict.fromkeys(("game", "camera"), pixels(modes, features, classes, subtypes))
    scores = mode_purity.class_scores(own, own, 3, ("road", "sky", "car"))["camera"]
    assert set(scores["classes"]) == {"road", "sky"}  # class 2 has a single sub-type
    road, sky = scores["classes"]["road"], scores["classes"]["sky"]
    assert road["modes"] == pytest.approx(1)
    assert sky["kmeans"] == pytest.approx(1)
    assert sky["kmeans_embeddings"] == pytest.approx(1)
    assert max(road["kmeans"], sky["modes"]) < 0.05
    assert scores["mean"]["modes"] == pytest.approx((road["modes"] + sky["modes"]) / 2)
    assert (road["subtypes"], road["pixels"]) == (3, 200)


def test_purity_of_several_checkpoints(untrained, tmp_path, monkeypatch, capsys):
    out = tmp_path / "scores.json"
    call(
        mode_purity, monkeypatch, CONFIG, untrained["two"], untrained["three"],
        "--plain", PLAIN, untrained["plain"], "--out", out,
    )  # fmt: skip
    report = json.loads(out.read_text())
    assert [entry["num_modes"] for entry in report] == [2, 3]
    for entry in report:
        for domain in ("game", "camera"):
            assert 0 <= entry[domain]["mean"]["modes"] <= 1
            assert {"building", "road"} & set(entry[domain]["classes"])
    assert "| 3 | 0." in capsys.readouterr().out


def test_subtypes_belong_to_their_labels(untrained, scenes):
    data = mode_purity.datasets_of(Config.fromfile(CONFIG))
    records = json.loads((scenes / "subtypes.json").read_text())
    for dataset in data.values():
        packed = dataset[0]
        path = mode_purity.subtype_path(packed["data_samples"].metainfo["seg_map_path"])
        subtypes = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        labels = packed["data_samples"].gt_sem_seg.data[0].numpy()
        names = dataset.metainfo["classes"]
        for number in np.unique(labels[labels != 255]):
            owners = {records[str(s)]["class"] for s in np.unique(subtypes[labels == number])}
            assert owners == {names[number]}


def test_maps_of_both_domains(untrained, tmp_path, monkeypatch):
    out = tmp_path / "new" / "maps.png"
    call(mode_maps, monkeypatch, CONFIG, untrained["three"], "--out", out, "--num-pairs", 2)
    sheet = cv2.imread(str(out))
    gap = mode_maps.GAP
    assert sheet.shape == (2 * (180 + gap), 6 * (360 + gap), 3)
    # Source and target images differ, and each map has more colors than its classes alone.
    assert not np.array_equal(sheet[:180, :360], sheet[:180, 3 * (360 + gap) :][:, :360])
    maps = [
        sheet[:180, start : start + 360].reshape(-1, 3) for start in (360 + gap, 2 * (360 + gap))
    ]
    assert len(np.unique(maps[0], axis=0)) > len(np.unique(maps[1], axis=0))


def test_maps_of_images_of_other_shapes(untrained, tmp_path, monkeypatch):
    shapes = iter([(180, width) for width in (360, 300, 300, 300)])

    def panels(*args):
        return np.zeros((*next(shapes), 3), np.uint8)

    monkeypatch.setattr(mode_maps, "panels", panels)
    out = tmp_path / "maps.png"
    call(mode_maps, monkeypatch, CONFIG, untrained["three"], "--out", out, "--num-pairs", 2)
    assert cv2.imread(str(out)).shape == (2 * (180 + mode_maps.GAP), 660, 3)


def test_refusals(untrained, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="holds no modes"):
        call(mode_purity, monkeypatch, CONFIG, untrained["plain"])
    with pytest.raises(FileNotFoundError, match=r"missing\.pth does not exist"):
        call(mode_purity, monkeypatch, CONFIG, tmp_path / "missing.pth")
    with pytest.raises(ValueError, match="no label of the scenes"):
        mode_purity.subtype_path("somewhere/else.png")
    with pytest.raises(FileNotFoundError, match=r"subtypes/1\.png"):
        mode_purity.subtype_path(str(tmp_path / "labels" / "1.png"))
