"""The exported pair works where there is MMSegmentation and nothing of this library."""

import copy
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import mmseg
import pytest
import torch
from class_index_labels import write_class_indices
from mmengine.config import Config
from mmseg.registry import DATASETS, MODELS

from mmdrsl.engine.launch import read_config
from mmdrsl.export.stock_config import stock_config
from mmdrsl.models.segmentors.export import export_segmentor

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests" / "inference"))
from network_files import write_checkpoint  # noqa: E402

CONFIGS = ROOT / "configs"
CONFIG = CONFIGS / "drsl/deeplabv3plus_scenes2scenes.py"
MMSEG_TEST = Path(mmseg.__file__).parent / ".mim" / "tools" / "test.py"
NAMED = dict(classes=["a", "b"], palette=[[0, 0, 0], [255, 255, 255]])
# A reader without this library: the example of the documentation, then MMSegmentation's own test tool.
WITHOUT_MMDRSL = """
import json, os, runpy, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "mmdrsl":
            raise ModuleNotFoundError(f"blocked: {name}")

sys.meta_path.insert(0, Absent())
example, raw, indexed, tool = sys.argv[1:]
import cv2
from mmseg.apis import MMSegInferencer, inference_model
for folder in (raw, indexed):
    os.chdir(folder)
    exec(example)
    labels = result.pred_sem_seg.data[0]
    assert cv2.imread("shown.png").shape[:2] == labels.shape
    assert (cv2.imread("seen/pred/00000000_pred.png", cv2.IMREAD_UNCHANGED) == labels.numpy()).all()
    again = inference_model(model, cv2.imread("image.png")).pred_sem_seg.data[0]
    assert (again == labels).all()
print(json.dumps(dict(labels=labels.tolist(), classes=model.dataset_meta["classes"])))
sys.argv = [tool, "plain/config.py", "plain/segmentor.pth", "--work-dir", "work"]
runpy.run_path(tool, run_name="__main__")
assert not any(name.partition(".")[0] == "mmdrsl" for name in sys.modules)
"""


@pytest.fixture(scope="module")
def scenes(scenes_root):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMDRSL_SCENES", str(scenes_root))
        yield scenes_root


@pytest.fixture(scope="module")
def checkpoint(scenes, tmp_path_factory):
    return write_checkpoint(CONFIG, tmp_path_factory.mktemp("run") / "iter_10.pth", teacher=True)


@pytest.fixture(scope="module")
def indexed(scenes, tmp_path_factory):
    """The training's config with a test set of class indices."""
    cfg = read_config(CONFIG)
    root = tmp_path_factory.mktemp("indexed") / "set"
    cfg.test_dataloader.dataset = write_class_indices(cfg.test_dataloader.dataset, root)
    return cfg


def label_map(cfg, checkpoint, picture):
    """What the training's own config and checkpoint predict, by the adaptor."""
    model = MODELS.build(cfg.model)
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    prefix = "teacher.module.segmentor."
    weights = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    model.segmentor.load_state_dict(weights)
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    (index,) = (i for i in range(len(dataset)) if dataset.get_data_info(i)["img_path"] == picture)
    item = dataset[index]
    batch = dict(inputs=[item["inputs"]], data_samples=[item["data_samples"]])
    with torch.no_grad():
        (sample,) = model.eval().test_step(batch)
    return sample.pred_sem_seg.data[0], sample.gt_sem_seg.data[0]


def test_without_this_library(checkpoint, indexed, tmp_path):
    page = (ROOT / "docs" / "export.md").read_text()
    example = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0]
    pictures = sorted(Path(indexed.test_dataloader.dataset.data_root, "images").iterdir())
    places = dict(raw=read_config(CONFIG), indexed=indexed)
    for name, cfg in places.items():
        export_segmentor(cfg, checkpoint, tmp_path / name / "plain")
        shutil.copy(pictures[0], tmp_path / name / "image.png")
    arguments = [example, *(tmp_path / name for name in places), MMSEG_TEST]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_MMDRSL, *map(str, arguments)],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-5000:]
    report = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
    assert report["classes"][:2] == ["road", "sidewalk"]
    found, truth = zip(*(label_map(indexed, checkpoint, str(p)) for p in pictures), strict=True)
    assert report["labels"] == found[0].tolist()
    correct = sum(int((f == t).sum()) for f, t in zip(found, truth, strict=True))
    counted = sum(int((t != 255).sum()) for t in truth)
    reported = re.findall(r"aAcc: ([0-9.]+)", done.stdout + done.stderr)[-1]
    assert float(reported) == pytest.approx(100 * correct / counted, abs=0.006)


def test_raw_ids_leave_labels_and_evaluator_out(checkpoint, scenes, tmp_path):
    config, _ = export_segmentor(read_config(CONFIG), checkpoint, tmp_path)
    text = config.read_text()
    assert "raw ids" in text.split('"""')[1]
    cfg = Config.fromfile(config)
    assert "test_evaluator" not in cfg
    assert "custom_imports" not in cfg
    assert cfg.test_dataloader.dataset.metainfo.classes[0] == "road"
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    wanted = {str(path) for path in (scenes / "camera/leftImg8bit/val").rglob("*.png")}
    assert {dataset.get_data_info(i)["img_path"] for i in range(len(dataset))} == wanted
    assert "gt_sem_seg" not in dataset[0]["data_samples"]


def test_labels_of_class_indices_stay(indexed):
    cfg = stock_config(indexed, **named(indexed)).cfg
    assert cfg.test_evaluator == dict(type="IoUMetric", iou_metrics=["mIoU"])
    ours = DATASETS.build(indexed.test_dataloader.dataset)
    theirs = DATASETS.build(cfg.test_dataloader.dataset)
    for index in range(len(ours)):
        expected, found = ours[index], theirs[index]
        assert torch.equal(expected["inputs"], found["inputs"])
        assert torch.equal(
            expected["data_samples"].gt_sem_seg.data, found["data_samples"].gt_sem_seg.data
        )


def named(cfg):
    built = DATASETS.build(dict(cfg.test_dataloader.dataset, lazy_init=True)).metainfo
    return dict(classes=built["classes"], palette=built["palette"])


def test_another_order_of_the_classes_needs_the_table(indexed):
    classes, palette = named(indexed).values()
    found = stock_config(indexed, classes=classes[::-1], palette=palette[::-1])
    assert "raw ids" in found.unread_labels


def test_a_list_of_files_with_endings_keeps_the_images(indexed, tmp_path):
    cfg = indexed.copy()
    dataset = cfg.test_dataloader.dataset
    names = sorted(path.name for path in Path(dataset.data_root, "images").iterdir())
    (tmp_path / "list.txt").write_text("\n".join(names))
    dataset.ann_file = str(tmp_path / "list.txt")
    found = stock_config(cfg, **named(cfg))
    assert "endings" in found.unread_labels
    images = DATASETS.build(found.cfg.test_dataloader.dataset)
    assert [Path(images.get_data_info(i)["img_path"]).name for i in range(len(images))] == names


def test_patterns_of_names_are_left_out(indexed):
    cfg = copy.deepcopy(indexed)
    cfg.test_dataloader.dataset.file_patterns = dict(img_path="*.png", seg_map_path="*.png")
    found = stock_config(cfg, **named(cfg))
    assert "file_patterns" in found.text().split('"""')[1]
    dataset = found.cfg.test_dataloader.dataset
    assert "data_root" not in dataset
    assert dataset.data_prefix == dict(img_path="")


def test_a_wrapper_around_datasets_is_left_out(indexed):
    cfg = copy.deepcopy(indexed)
    cfg.test_pipeline = cfg.test_dataloader.dataset.pipeline
    cfg.test_dataloader.dataset = dict(type="ConcatDataset", datasets=[])
    found = stock_config(cfg, **named(indexed))
    assert "ConcatDataset" in found.unread_labels
    assert found.cfg.test_dataloader.dataset.type == "BaseSegDataset"


def test_a_stock_dataset_stays_where_its_classes_are_the_models(indexed):
    cfg = copy.deepcopy(indexed)
    pipeline = cfg.test_dataloader.dataset.pipeline
    folders = dict(img_path="images", seg_map_path="labels")
    stock = dict(type="CityscapesDataset", data_root="x", data_prefix=folders, pipeline=pipeline)
    cfg.test_dataloader.dataset = stock
    classes, palette = named(indexed).values()
    kept = stock_config(cfg, classes=classes, palette=palette)
    assert kept.unread_labels is None
    assert kept.cfg.test_dataloader.dataset.data_prefix == folders
    found = stock_config(cfg, classes=classes[::-1], palette=palette[::-1])
    assert "CityscapesDataset" in found.unread_labels
    dataset = found.cfg.test_dataloader.dataset
    assert dataset.type == "BaseSegDataset"
    assert dataset.metainfo.classes == list(classes[::-1])
    assert dataset.data_prefix == dict(img_path="images")
    assert dataset.img_suffix == "_leftImg8bit.png"


@pytest.mark.parametrize(
    ("model", "imports"),
    [("deeplabv3plus_small", ()), ("segformer_b0", ()), ("segnet_vgg16bn", ("mmdrsl",)),
     ("deeplabv2_r101", ("mmdrsl",))],
)  # fmt: skip
def test_imports_only_what_the_network_needs(indexed, model, imports):
    cfg = indexed.copy()
    segmentor = read_config(CONFIGS / f"_base_/models/{model}.py").model.segmentor
    cfg.model = dict(cfg.model, segmentor=segmentor)
    found = stock_config(cfg, **named(cfg))
    assert found.imports == imports
    assert found.cfg.get("custom_imports", {}).get("imports", []) == list(imports)
    assert bool(imports) == ("mmdrsl, which must" in found.text())


def test_nothing_is_tested(indexed):
    cfg = indexed.copy()
    cfg.test_pipeline = cfg.test_dataloader.dataset.pipeline
    cfg.test_dataloader = cfg.test_evaluator = None
    found = stock_config(cfg, **named(indexed))
    assert "no test set" in found.text()
    assert found.cfg.test_dataloader.dataset.pipeline == found.cfg.test_pipeline
    assert "test_evaluator" not in found.cfg


def test_losses_of_this_library_give_way(indexed):
    cfg = indexed.copy()
    cfg.model.segmentor.decode_head.loss_decode = dict(type="WeightedCrossEntropyLoss")
    found = stock_config(cfg, **named(cfg))
    assert found.imports == ()
    assert found.cfg.model.decode_head.loss_decode.type == "CrossEntropyLoss"


def test_not_an_adaptation():
    with pytest.raises(ValueError, match="UDASegmentor, found EncoderDecoder"):
        stock_config(Config(dict(model=dict(type="EncoderDecoder"))), **NAMED)
