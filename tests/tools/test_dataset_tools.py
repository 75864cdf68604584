"""check_dataset.py and browse_dataset.py on small data sets made here, and on the real samples."""

import importlib.util
import json
import os
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmseg.registry import DATASETS
from PIL import Image

from mmdrsl.scenes.writer import write_scenes

ROOT = Path(__file__).resolve().parents[2]
SCENES_CONFIG = str(ROOT / "configs/_base_/pairs/scenes2scenes.py")
SIZE = (16, 24)


def tool(name):
    path = ROOT / "tools" / "analysis_tools" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def check(monkeypatch, capsys, tmp_path):
    """Runs the tool as the command line does; returns status, page and parsed last line."""

    def run(config, *options):
        arguments = [str(config), "--json", "--out", str(tmp_path / "report"), *options]
        monkeypatch.setattr(sys, "argv", ["check_dataset.py", *arguments])
        status = tool("check_dataset").main()
        output = capsys.readouterr()
        if status == 2:
            return status, output.err, None
        assert cv2.imread(str(tmp_path / "report" / "classes.png")) is not None
        return status, output.out, json.loads(output.out.splitlines()[-1])

    return run


@pytest.fixture(scope="module")
def whole_scenes(tmp_path_factory):
    root = tmp_path_factory.mktemp("scenes") / "set"
    write_scenes(
        out_dir=root, seed=3, num_game=5, num_camera_train=4, num_camera_val=3, image_size=(64, 32)
    )
    return root


@pytest.fixture
def scenes(whole_scenes, tmp_path, monkeypatch):
    copy = tmp_path / "scenes"
    shutil.copytree(whole_scenes, copy)
    monkeypatch.setenv("MMDRSL_SCENES", str(copy))
    return copy


def files(folder, number=2):
    return sorted(folder.rglob("*.png"))[:number]


def test_sound_data(scenes, check):
    status, page, found = check(SCENES_CONFIG)
    assert status == 0
    assert "No problem found." in page
    assert {name: (part["images"], part["problems"]) for name, part in found.items()} == {
        "source": (5, []),
        "target": (4, []),
        "val": (3, []),
    }
    assert found["target"]["pixels"] == {}
    assert len(found["source"]["pixels"]) == 20
    assert sum(found["source"]["pixels"].values()) == 5 * 64 * 32
    raw = np.concatenate(
        [np.asarray(Image.open(path)) for path in (scenes / "game/labels").rglob("*.png")]
    )
    assert found["source"]["pixels"]["road"] == np.count_nonzero(raw == 7)
    assert found["source"]["pixels"]["car"] == np.count_nonzero(raw == 26)


def test_every_kind_of_defect_is_found_by_name(scenes, check):
    labels, images = files(scenes / "game/labels", 5), files(scenes / "game/images", 5)
    ids = np.array(Image.open(labels[0]))
    ids[:2, :3] = 99
    save_palette(labels[0], ids)
    cv2.imwrite(str(labels[1]), np.zeros((30, 64), np.uint8))
    labels[2].unlink()
    images[3].write_bytes(images[3].read_bytes()[:-200])
    cv2.imwrite(str(labels[4]), np.zeros((32, 64, 3), np.uint16))
    orphan = labels[0].with_name("orphan.png")
    shutil.copy(labels[3], orphan)
    train = files(scenes / "camera/leftImg8bit/train", 4)
    validation = files(scenes / "camera/leftImg8bit/val", 2)
    # The same pixels in a file that differs.
    copied = cv2.imread(str(train[0]))
    cv2.imwrite(str(validation[0]), copied, [cv2.IMWRITE_PNG_COMPRESSION, 0])
    cv2.imwrite(str(train[1]), np.zeros((32, 64), np.uint16))
    status, page, found = check(SCENES_CONFIG)
    assert status == 1
    expected = {
        "source": [
            (labels[0], "unknown ids 99 (6 pixels)"),
            (labels[1], "64x30"),
            (labels[2], "no label"),
            (images[3], "cut short"),
            (labels[4], "uint16"),
            (orphan, "label without image"),
            (None, "several kinds of labels"),
        ],
        "target": [(train[1], "depth map")],
        "val": [(validation[0], f"{train[0]} of target")],
    }
    for name, problems in expected.items():
        assert len(found[name]["problems"]) == len(problems), found[name]["problems"]
        for path, text in problems:
            lines = [line for line in found[name]["problems"] if text in line]
            assert len(lines) == 1, text
            assert path is None or str(path) in lines[0]
    assert page.startswith(f"Data of {SCENES_CONFIG}") or f"Data of {SCENES_CONFIG}" in page
    assert "9 problems" in page
    # Labels that can be read are counted all the same: five minus a missing and a 16-bit color one.
    assert sum(found["source"]["pixels"].values()) == 2 * 64 * 32 + 64 * 32 - 6 + 64 * 30 - 64 * 32


def save_palette(path, ids):
    image = Image.fromarray(ids)
    image.putpalette(list(range(256)) * 3)
    image.save(path)


def test_missing_folder_is_a_problem_of_its_domain(scenes, check):
    shutil.rmtree(scenes / "game/labels")
    status, _, found = check(SCENES_CONFIG)
    assert status == 1
    assert found["source"]["images"] == 0
    assert "game/labels" in found["source"]["problems"][0]
    assert found["val"]["problems"] == []


def test_data_root_by_option(whole_scenes, check, monkeypatch, tmp_path):
    monkeypatch.delenv("MMDRSL_SCENES", raising=False)
    status, _, found = check(SCENES_CONFIG, "--cfg-options", f"data_root={whole_scenes}/")
    assert status == 0
    assert found["val"]["images"] == 3
    option = f"train_dataloader.dataset.source.data_root={tmp_path / 'nowhere'}"
    status, _, found = check(SCENES_CONFIG, "--cfg-options", f"data_root={whole_scenes}", option)
    assert status == 1
    assert "nowhere" in found["source"]["problems"][0]


def test_data_root_of_a_table_by_id(tmp_path, check):
    for domain in ("drawn", "real"):
        write_pair(tmp_path / "own" / domain, "0", np.full(SIZE, 4, np.uint8))
    space = dict(name="two", classes=["ground", "vehicle"], palette=[[128, 64, 128], [0, 0, 142]])
    source = dict(
        type="LabelledImageDataset",
        data_root="data/drawn",
        data_prefix=dict(img_path="img", seg_map_path="ann"),
        img_suffix=".jpg",
        label_space=space,
        table=dict(name="mine", ids={4: "ground", 7: "vehicle"}, void=[]),
        pipeline=[dict(type="LoadImage"), dict(type="LoadLabels"), dict(type="PackSegInputs")],
    )
    target = dict(type="UnlabelledDataset", data_root="data/real", label_space=space, ann_file="")
    dataset = dict(type="TwoDomainDataset", source=source, target=target)
    path = tmp_path / "own.py"
    text = f"data_root = 'data'\ntrain_dataloader = dict(batch_size=1, dataset={dataset!r})\n"
    path.write_text(text)
    status, _, found = check(path, "--cfg-options", f"data_root={tmp_path / 'own'}")
    assert status == 0, found
    assert found["source"]["pixels"] == {"ground": SIZE[0] * SIZE[1], "vehicle": 0, "ignore": 0}
    path.write_text(text.replace("'data'", "''", 1))
    status, message, _ = check(path, "--cfg-options", "data_root=x")
    assert status == 2
    assert "the config's data_root is ''" in message


def test_upper_case_images_leave_no_orphans(tmp_path, check):
    write_pair(tmp_path / "data", "0", np.zeros(SIZE, np.uint8))
    image = tmp_path / "data/img/0.jpg"
    image.rename(image.with_suffix(".JPG"))
    dataset = dict(
        type="GTA5Dataset",
        data_root=str(tmp_path / "data"),
        data_prefix=dict(img_path="img", seg_map_path="ann"),
        img_suffix=".jpg",
        pipeline=[dict(type="LoadImage"), dict(type="LoadLabels"), dict(type="PackSegInputs")],
    )
    path = tmp_path / "own.py"
    path.write_text(f"train_dataloader = dict(batch_size=1, dataset={dataset!r})\n")
    status, _, found = check(path)
    assert status == 0, found
    assert found["source"]["images"] == 1
    (tmp_path / "data/ann/1.png").write_bytes((tmp_path / "data/ann/0.png").read_bytes())
    _, _, found = check(path)
    assert ["label without image" in line for line in found["source"]["problems"]] == [True]


def test_every_damaged_target_image_is_named(scenes, check):
    train = files(scenes / "camera/leftImg8bit/train", 4)
    for path in train[:2]:
        path.write_bytes(path.read_bytes()[:9])
    _, _, found = check(SCENES_CONFIG)
    assert found["target"]["images"] == 4
    problems = found["target"]["problems"]
    assert [sum(str(path) in line for line in problems) for path in train] == [1, 1, 0, 0]


def write_pair(folder, name, ids, *, seed=0):
    image = np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    for part in ("img", "ann"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / "img" / f"{name}.jpg"), image)
    cv2.imwrite(str(folder / "ann" / f"{name}.png"), ids)


def mmseg_config(tmp_path, **options):
    """A config of plain MMSegmentation, with its own dataset class and wrapped datasets."""
    for number in range(3):
        ids = np.full(SIZE, number, np.uint8)
        ids[0, :4] = (1, 2, 255, 0)
        write_pair(tmp_path / "data", f"{number}", ids, seed=number)
    dataset = dict(
        type="BaseSegDataset",
        data_root=str(tmp_path / "data"),
        data_prefix=dict(img_path="img", seg_map_path="ann"),
        metainfo=dict(classes=("a", "b", "c"), palette=[[0, 0, 0], [9, 9, 9], [200, 0, 0]]),
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="LoadAnnotations"),
            dict(type="PackSegInputs"),
        ],
        **options,
    )
    path = tmp_path / "config.py"
    wrapped = dict(type="RepeatDataset", times=2, dataset=dataset)
    path.write_text(f"train_dataloader = dict(batch_size=1, dataset={wrapped!r})\n")
    return path


def test_plain_mmseg_config(tmp_path, check):
    status, _, found = check(mmseg_config(tmp_path))
    assert status == 0
    pixels = SIZE[0] * SIZE[1]
    assert found == {
        "source": {
            "images": 3,
            # One image of each class, whose first four pixels are b, c, ignored, a.
            "pixels": {"a": pixels - 1, "b": pixels - 1, "c": pixels - 1, "ignore": 3},
            "problems": [],
            "remarks": [],
        }
    }


def test_mmseg_options_that_change_ids(tmp_path, check):
    """With reduce_zero_label, id 0 is ignored and the others move down."""
    status, _, found = check(mmseg_config(tmp_path, reduce_zero_label=True))
    assert status == 0
    pixels = SIZE[0] * SIZE[1]
    assert found["source"]["pixels"] == {
        "a": pixels - 1,
        "b": pixels - 1,
        "c": 0,
        "ignore": pixels + 2,
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("BaseSegDataset", "BaseSegmentDataset"), "BaseSegmentDataset"),
        (("'data_prefix'", "'data_prefixes'"), "data_prefixes"),
        (("train_dataloader", "train_dataloader = dict(\n#"), "SyntaxError"),
        (("dict(", "dct("), "NameError"),
    ],
)
def test_configs_with_mistakes_cannot_be_used(
    tmp_path, check, monkeypatch, capsys, change, message
):
    path = mmseg_config(tmp_path)
    path.write_text(path.read_text().replace(*change))
    status, said, _ = check(path)
    assert status == 2
    assert message in said
    assert browse(monkeypatch, path, tmp_path / "out")[0] == 2


def test_unusable_configs(tmp_path, check):
    empty = tmp_path / "empty.py"
    empty.write_text("model = dict()\n")
    status, message, _ = check(empty)
    assert status == 2
    assert "no dataset in train_dataloader" in message
    status, message, _ = check(empty, "--cfg-options", "data_root=x")
    assert status == 2
    assert "no top-level data_root" in message


@pytest.mark.data
def test_real_samples(check):
    if not Path(os.environ.get("MMDRSL_SAMPLES", ""), "gta5").is_dir():
        pytest.skip("MMDRSL_SAMPLES names no folder of samples")
    status, _, found = check(ROOT / "configs/_base_/pairs/gta2cs.py")
    # The sums of the numbers in tests/datasets/test_real_files.py.
    assert found["source"]["pixels"]["road"] == 65375 + 148881
    assert found["source"]["pixels"]["ignore"] == 76026 + 78088
    assert found["val"]["pixels"]["car"] == 326857 + 337030 + 236801
    assert found["val"]["pixels"]["ignore"] == 246046 + 439236 + 135762
    # The flat sample folder is target and validation in one, which is a finding.
    assert [line.split(":")[0] for line in found["val"]["problems"]] == ["copy in training"] * 3
    assert found["source"]["problems"] == found["target"]["problems"] == []
    assert status == 1


def browse(monkeypatch, config, folder, *options):
    arguments = [str(config), "--out", str(folder), "--num-images", "2", *options]
    monkeypatch.setattr(sys, "argv", ["browse_dataset.py", *arguments])
    status = tool("browse_dataset").main()
    return status, [cv2.imread(str(path)) for path in sorted(folder.glob("*.png"))]


def test_browse_draws_both_domains(scenes, monkeypatch, tmp_path):
    options = ("--cfg-options", "train_dataloader.dataset.source.pipeline.3.crop_size=(32,64)")
    status, pictures = browse(monkeypatch, SCENES_CONFIG, tmp_path / "out", *options)
    assert status == 0
    assert len(pictures) == 2
    assert all(picture.shape[1] > 2 * 64 for picture in pictures)
    again = browse(monkeypatch, SCENES_CONFIG, tmp_path / "again", *options)[1]
    assert all(map(np.array_equal, pictures, again))


def test_browse_draws_pseudo_labels_and_mmseg_configs(scenes, monkeypatch, tmp_path):
    train = scenes / "camera/leftImg8bit/train"
    for image in train.rglob("*.png"):
        label = tmp_path / "round_1/labels" / image.relative_to(train)
        label.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(label), np.zeros((32, 64), np.uint8))
    without = browse(monkeypatch, SCENES_CONFIG, tmp_path / "without")[1]
    pseudo = ("--pseudo-labels", str(tmp_path / "round_1"))
    status, drawn = browse(monkeypatch, SCENES_CONFIG, tmp_path / "with", *pseudo)
    assert status == 0
    assert not any(map(np.array_equal, without, drawn))
    config = mmseg_config(tmp_path)
    status, pictures = browse(monkeypatch, config, tmp_path / "plain")
    assert status == 0
    assert len(pictures) == 2
    assert browse(monkeypatch, config, tmp_path / "plain", *pseudo)[0] == 2
    oracle = ROOT / "configs/oracle/deeplabv3plus_scenes2scenes.py"
    assert browse(monkeypatch, oracle, tmp_path / "oracle", *pseudo)[0] == 2


def test_browsed_label_lies_over_its_image(monkeypatch, tmp_path):
    """The lower picture is the image mixed with the palette, pixel by pixel."""
    from mmdrsl.datasets.inspection.browse import draw_pair

    config = mmseg_config(tmp_path)
    namespace = {}
    exec(config.read_text(), namespace)
    dataset = DATASETS.build(namespace["train_dataloader"]["dataset"]["dataset"])
    picture = draw_pair(dataset, 2, 0)
    packed = dataset[2]
    image = packed["inputs"].numpy()[::-1].transpose(1, 2, 0)
    lower = picture[22 + 16 + 22 :][:16, :24]
    mixed = 0.45 * image[1:] + 0.55 * np.array([200, 0, 0])
    np.testing.assert_allclose(lower[1:], mixed, atol=1)
    np.testing.assert_array_equal(picture[22:][:16, :24], image)
    # The ignored pixel of the first row is dim.
    np.testing.assert_allclose(lower[0, 2], 0.35 * image[0, 2], atol=1)


def test_own_pair_of_the_how_to_page(tmp_path, check, monkeypatch):
    """The page's config, as it stands there, on files of that layout."""
    page = (ROOT / "docs/datasets.md").read_text()
    code = page.split("<!-- own pair -->")[1].split("```python\n")[1].split("```")[0]
    config = tmp_path / "mine.py"
    config.write_text(code)
    monkeypatch.chdir(tmp_path)
    for index, raw_id in enumerate((1, 2, 7)):
        for domain in ("rendered/images", "real"):
            path = tmp_path / "data/mine" / domain / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            # Different pictures, for equal ones would be reported.
            cv2.imwrite(str(path), np.full((*SIZE, 3), 10 * index + len(domain), np.uint8))
        label = np.full(SIZE, raw_id, np.uint8)
        label[0] = 0
        (tmp_path / "data/mine/rendered/labels").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / f"data/mine/rendered/labels/{index}.png"), label)
    status, _, found = check(config)
    assert status == 0, found
    pixels = (SIZE[0] - 1) * SIZE[1]
    expected = {"ground": 2 * pixels, "vehicle": pixels, "ignore": 3 * SIZE[1]}
    assert found["source"] == {"images": 3, "pixels": expected, "problems": [], "remarks": []}
    assert found["target"] == {"images": 3, "pixels": {}, "problems": [], "remarks": []}
    assert browse(monkeypatch, config, tmp_path / "pictures")[0] == 0


def test_own_files_of_the_how_to_page(tmp_path, monkeypatch):
    """Colors and names as the page has them, with the table in the config and in a JSON file."""
    page = (ROOT / "docs/datasets.md").read_text()
    blocks = {
        name: page.split(f"<!-- {name} -->")[1].split(f"```{kind}\n")[1].split("```")[0]
        for name, kind in (("own files", "python"), ("own table", "json"))
    }
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(blocks["own files"])
    (tmp_path / "table.json").write_text(blocks["own table"])
    folder = tmp_path / "data/mine/painted/s1"
    for kind in ("rgb", "seg"):
        (folder / kind).mkdir(parents=True)
    cv2.imwrite(str(folder / "rgb/1.jpg"), np.full((*SIZE, 3), 90, np.uint8))
    colors = np.zeros((*SIZE, 3), np.uint8)
    colors[1], colors[2:] = (128, 64, 128), (0, 0, 255)
    Image.fromarray(colors).save(folder / "seg/1.png")
    source = Config.fromfile(tmp_path / "mine.py").painted
    for table in (source.table, "table.json"):
        dataset = DATASETS.build({**source, "table": table})
        label = dataset[0]["data_samples"].gt_sem_seg.data[0].numpy()
        assert [np.unique(row).tolist() for row in label[:4]] == [[255], [0], [1], [1]]
