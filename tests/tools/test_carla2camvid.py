import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmseg.registry import DATASETS

from mmdrsl.benchmark.evaluation_set import read_evaluation_set
from mmdrsl.benchmark.pairs import read_pair

ROOT = Path(__file__).resolve().parents[2]
SIZE = (480, 640)


@pytest.fixture(scope="module")
def converter():
    path = ROOT / "tools/dataset_converters/carla2camvid.py"
    spec = importlib.util.spec_from_file_location("carla2camvid", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), pixels)


@pytest.fixture
def sources(tmp_path):
    """Both sources, small in number: labels of one id per image, in the published storage."""
    image = np.full((*SIZE, 3), 120, np.uint8)
    for frame, tag in ((26, 7), (1887, 10), (64421, 22)):
        write(tmp_path / f"rgb/{frame:06d}.png", image)
        mask = np.zeros((*SIZE, 4), np.uint8)
        mask[..., 2], mask[..., 3] = tag, 255
        write(tmp_path / f"seg/{frame:06d}.png", mask)
    names = {"train": ["0001TP_006690", "0006R0_f00930", "0016E5_00390"], "val": ["0016E5_07959"]}
    for part, members in names.items():
        for index, name in enumerate(members):
            write(tmp_path / f"CamVid/{part}/{name}.png", image)
            write(tmp_path / f"CamVid/{part}annot/{name}.png", np.full(SIZE, 3 + index, np.uint8))
    return tmp_path


def run(converter, sources):
    return converter.main(
        [
            *("--carla-images", str(sources / "rgb"), "--carla-masks", str(sources / "seg")),
            *("--camvid", str(sources / "CamVid"), "--out", str(sources / "out")),
        ]
    )


def test_layout_and_splits(converter, sources, monkeypatch):
    assert run(converter, sources) == 0
    lists = {
        path.relative_to(sources / "out").as_posix(): path.read_text().split()
        for path in (sources / "out").rglob("*.txt")
    }
    assert lists == {
        "carla/train.txt": ["000026", "001887", "064421"],
        "carla/heldout.txt": ["001887"],
        "carla/train_minus_heldout.txt": ["000026", "064421"],
        "camvid/train.txt": ["0001TP_006690", "0016E5_00390"],
        "camvid/val.txt": ["0006R0_f00930", "0016E5_07959"],
        "camvid/val_0006R0.txt": ["0006R0_f00930"],
        "camvid/val_0016E5.txt": ["0016E5_07959"],
    }
    monkeypatch.setenv("MMDRSL_BENCHMARK", str(sources / "out"))
    cfg = Config.fromfile(str(ROOT / "configs/_base_/pairs/carla2camvid.py"))
    training = DATASETS.build(cfg.train_dataloader.dataset)
    assert {name: len(part) for name, part in training.domains.items()} == {
        "source": 3,
        "target": 2,
    }
    source = training.domains["source"]
    source.pipeline.transforms = source.pipeline.transforms[:2]
    classes = source.metainfo["classes"]
    found = [source[index] for index in range(3)]
    assert [classes[item["gt_seg_map"][0, 0]] for item in found] == ["road", "car", "vegetation"]
    assert {item["img"].shape for item in found} == {(240, 320, 3)}
    assert len(DATASETS.build(cfg.val_dataloader.dataset)) == 2


@pytest.mark.parametrize("dataset", ["carla", "camvid"])
def test_names_of_the_ids_are_those_of_the_datasets(converter, sources, dataset):
    assert run(converter, sources) == 0
    root = sources / "out"
    found = read_evaluation_set(root / dataset, "train", label_space="street10", data=root)
    kind = DATASETS.get({"carla": "CARLADataset", "camvid": "CamVidDataset"}[dataset])
    expected = {name: kind.RENAMES["street10"].get(name) for name in kind.TABLE.ids.values()}
    assert found.dataset["table"]["ids"] == {
        str(number): name for number, name in kind.TABLE.ids.items()
    }
    assert {name: found.dataset["renames"].get(name) for name in expected} == expected
    # All that tools/run_benchmark.py asks for but the weights.
    lists = read_pair("carla2camvid", ROOT / "configs").lists
    assert lists
    assert all((root / name).is_file() for name in lists)


def test_second_call_keeps_files(converter, sources):
    assert run(converter, sources) == 0
    image = sources / "out/carla/images/000026.jpg"
    made = image.stat().st_mtime_ns
    (sources / "out/carla/labels/001887.png").unlink()
    assert run(converter, sources) == 0
    assert image.stat().st_mtime_ns == made
    assert (sources / "out/carla/labels/001887.png").is_file()


def test_mistakes_are_named(converter, sources, capsys):
    write(sources / "seg/000026.png", np.full((*SIZE, 3), 99, np.uint8))
    assert run(converter, sources) == 2
    assert "000026.png" in capsys.readouterr().err
    (sources / "rgb/000026.png").rename(sources / "rgb/one.png")
    (sources / "seg/000026.png").rename(sources / "seg/one.png")
    assert run(converter, sources) == 2
    assert "['one'] are no frame numbers" in capsys.readouterr().err
    (sources / "rgb/one.png").unlink()
    (sources / "CamVid/valannot/0016E5_07959.png").unlink()
    assert run(converter, sources) == 2
    assert "0016E5_07959" in capsys.readouterr().err
