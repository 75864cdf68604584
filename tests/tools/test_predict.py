"""The tool that predicts images and videos, on small scenes."""

import csv
import json
import runpy
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from mmdrsl.inference import Network
from mmdrsl.models.segmentors.export import export_segmentor

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tests" / "inference")]
import predict  # noqa: E402
from network_files import write_checkpoint, write_video  # noqa: E402

CONFIG = str(ROOT / "configs/drsl/deeplabv3plus_scenes2scenes.py")
STUDENT = ("--network", "student")
OF_STUDENT = "default_hooks.teacher.evaluate=False"
SLIDE = [
    "model.segmentor.test_cfg.mode=slide",
    "model.segmentor.test_cfg.crop_size=(48,64)",
    "model.segmentor.test_cfg.stride=(32,48)",
]


@pytest.fixture(autouse=True)
def scenes(scenes_root, monkeypatch):
    monkeypatch.setenv("MMDRSL_SCENES", str(scenes_root))
    return scenes_root


@pytest.fixture(scope="module")
def checkpoint(scenes_root, tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "iter_10.pth"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMDRSL_SCENES", str(scenes_root))
        return write_checkpoint(CONFIG, path, teacher=True)


@pytest.fixture(scope="module")
def validation(scenes_root):
    return sorted((scenes_root / "camera/leftImg8bit/val").rglob("*.png"))


def run(*arguments, status=0):
    assert predict.main([*map(str, arguments), "--device", "cpu"]) == status


def label_maps(folder):
    """Label maps by file name."""
    found = {}
    for path in sorted(Path(folder).rglob("*.png")):
        with Image.open(path) as image:
            found[path.name] = np.asarray(image)
    return found


def labels_of_the_test_tool(checkpoint, out, monkeypatch, *options, flags=()):
    """What tools/test.py computes for the validation images."""
    command = [CONFIG, checkpoint, "--work-dir", out / "work", "--out", out / "labels", *flags]
    options = ("--cfg-options", *options) if options else ()
    monkeypatch.setattr(sys, "argv", list(map(str, ["test.py", *command, *options])))
    runpy.run_path(str(ROOT / "tools/test.py"), run_name="__main__")
    return label_maps(out / "labels")


def check_equal(found, expected):
    assert len(expected) == 2
    assert found.keys() == expected.keys()
    for name, labels in expected.items():
        assert len(np.unique(labels)) > 3
        np.testing.assert_array_equal(found[name], labels)


def test_labels_of_the_teacher_are_those_of_the_test_tool(
    checkpoint, validation, tmp_path, monkeypatch
):
    run(CONFIG, checkpoint, *validation, "--out", tmp_path / "out")
    found = label_maps(tmp_path / "out/labels")
    check_equal(found, labels_of_the_test_tool(checkpoint, tmp_path, monkeypatch))


@pytest.mark.parametrize(
    ("flags", "test_flags", "test_options"),
    [
        ([], [], []),
        (["--tta"], ["--tta"], []),
        (["--window", 48, 64, "--stride", 32, 48], [], SLIDE),
    ],
    ids=["student", "augmented", "windows"],
)
def test_labels_of_the_student_are_those_of_the_test_tool(
    predicted, checkpoint, validation, tmp_path, monkeypatch, flags, test_flags, test_options
):
    run(CONFIG, checkpoint, *validation, "--out", tmp_path / "out", *STUDENT, *flags)
    expected = labels_of_the_test_tool(
        checkpoint, tmp_path, monkeypatch, OF_STUDENT, *test_options, flags=test_flags
    )
    check_equal(label_maps(tmp_path / "out/labels"), expected)
    plain = label_maps(out_of(predicted) / "labels")
    changed = [(plain[name] != labels).any() for name, labels in expected.items()]
    assert changed == [bool(flags)] * len(expected)


def test_an_exported_pair_predicts_the_same(checkpoint, validation, tmp_path):
    exported = export_segmentor(Config.fromfile(CONFIG), checkpoint, tmp_path / "plain")
    run(CONFIG, checkpoint, *validation, "--out", tmp_path / "a")
    run(*exported, *validation, "--out", tmp_path / "b")
    check_equal(label_maps(tmp_path / "b/labels"), label_maps(tmp_path / "a/labels"))


@pytest.fixture(scope="module")
def predicted(scenes_root, checkpoint, validation, tmp_path_factory):
    """The outputs of a folder of images and a video."""
    root = tmp_path_factory.mktemp("predicted")
    images = [cv2.imread(str(path)) for path in validation]
    write_video(root / "drive.avi", images * 3, rate=8)
    inputs = [scenes_root / "camera/leftImg8bit/val", root / "drive.avi"]
    command = [CONFIG, checkpoint, *inputs, "--out", root / "out", "--confidence", *STUDENT]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMDRSL_SCENES", str(scenes_root))
        run(*command)
    return command


def out_of(command):
    return Path(command[command.index("--out") + 1])


def test_pictures_of_an_image(predicted, validation):
    out, path = out_of(predicted), validation[0]
    name = f"{path.parent.name}/{path.stem}"
    labels, color = (Image.open(out / kind / f"{name}.png") for kind in ("labels", "color"))
    assert labels.mode == "P"
    colors = np.asarray(color)
    np.testing.assert_array_equal(np.asarray(labels.convert("RGB")), colors)
    blended = (np.asarray(Image.open(path), float) + colors) / 2
    painted = np.asarray(Image.open(out / "overlay" / f"{name}.jpg"), float)
    assert np.abs(painted - blended).mean() < 8
    confidence = np.asarray(Image.open(out / "confidence" / f"{name}.png"))
    assert confidence.dtype == np.uint8
    assert confidence.shape == np.asarray(labels).shape
    # Of 19 classes the chosen one has at least a share of one in 19.
    assert confidence.min() >= 255 // 19


def test_shares_of_images_and_frames(predicted, validation):
    with (out_of(predicted) / "shares.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["name"], row["frame"]) for row in rows] == [
        *((f"{path.parent.name}/{path.stem}", "") for path in validation),
        *(("drive", str(number)) for number in range(6)),
    ]
    for row in rows:
        assert sum(map(float, list(row.values())[2:])) == pytest.approx(1, abs=1e-4)
    labels = label_maps(out_of(predicted) / "labels")[validation[0].name]
    share = rows[0]["building"]
    assert float(share) == pytest.approx((labels == 2).mean(), abs=1e-6)


def test_the_video_has_all_frames_and_a_legend(predicted):
    capture = cv2.VideoCapture(str(out_of(predicted) / "overlay/drive.mp4"))
    assert capture.get(cv2.CAP_PROP_FPS) == 8
    frames = []
    while (frame := capture.read())[0]:
        frames.append(frame[1])
    assert len(frames) == 6
    assert frames[0].shape[0] > 64
    # Paper with boxes and names.
    assert (frames[0][64:] > 240).mean() > 0.5
    assert (frames[0][64:] < 100).any()


def times(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*.[pjm]*") if path.is_file()}


def test_what_is_complete_is_kept(predicted, validation, capsys):
    out = out_of(predicted)
    shares, before = (out / "shares.csv").read_text(), times(out / "labels")
    video = times(out / "overlay")
    lost = out / "overlay" / validation[0].parent.name / f"{validation[0].stem}.jpg"
    lost.unlink()
    (out / "shares.csv").write_text(
        "\n".join(line for line in shares.splitlines() if not line.startswith("dornvik")) + "\n"
    )
    run(*predicted)
    assert "2 of them were there already" in capsys.readouterr().out
    after = times(out / "labels")
    changed = [path.stem for path in before if after[path] != before[path]]
    assert changed == [validation[0].stem]
    assert lost.is_file()
    drive = out / "overlay/drive.mp4"
    assert times(out / "overlay")[drive] == video[drive]
    assert (out / "shares.csv").read_text() == shares
    run(*predicted, "--overwrite")
    assert times(out / "overlay")[drive] != video[drive]
    assert (out / "shares.csv").read_text() == shares


def test_another_image_of_the_same_name_is_refused(checkpoint, validation, tmp_path, capsys):
    for folder, source in zip("ab", validation, strict=True):
        (tmp_path / folder).mkdir()
        shutil.copy(source, tmp_path / folder / "000.png")
    command = [CONFIG, checkpoint, "--out", tmp_path / "out"]
    run(*command, tmp_path / "a")
    assert (
        "predict: the averaged teacher predicts, as in the test of this config"
        in capsys.readouterr().out
    )
    before = times(tmp_path / "out")
    run(*command, tmp_path / "b", status=1)
    assert "not of" in capsys.readouterr().err.splitlines()[-1]
    run(*command, tmp_path / "a")
    assert "1 of them were there already" in capsys.readouterr().out
    assert times(tmp_path / "out/labels") == {
        k: v for k, v in before.items() if "labels" in k.parts
    }


def test_other_settings_are_refused(predicted, capsys):
    run(*predicted[: -len(STUDENT)], "--teacher", status=1)
    error = capsys.readouterr().err
    assert error.splitlines()[-1].startswith("predict: ")
    assert "of another checkpoint or of other options" in error


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(checkpoint="gone.pth"), "gone.pth does not exist"),
        (dict(inputs=["gone"]), "There is no file in gone"),
        (dict(flags=["--device", "cuda:99"]), "There is no device 'cuda:99'"),
        (dict(flags=["--cfg-options", "tta_pipeline=None", "--tta"]), "has no tta_pipeline"),
    ],
)
def test_what_is_wrong_is_named(checkpoint, validation, tmp_path, capsys, change, message):
    inputs = change.get("inputs", validation)
    command = [CONFIG, change.get("checkpoint", checkpoint), *inputs, "--out", tmp_path / "out"]
    flags = change.get("flags", [])
    assert predict.main([*map(str, command), *map(str, flags)]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("predict: ")
    assert message in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("is_teacher", "asked", "said"),
    [
        (True, False, "the averaged teacher predicts, as in the test of this config; --network"),
        (False, False, "the student predicts, since a.pth holds no teacher that a training has"),
        (False, True, "the student predicts, as the command line says"),
    ],
)
def test_the_network_that_predicts_is_named(is_teacher, asked, said):
    network = Network(model=None, classes=(), palette=(), is_teacher=is_teacher)
    line = predict.which_network(network, asked=asked, checkpoint="a.pth")
    assert line.startswith(f"predict: {said}")


@pytest.mark.parametrize("flag", [["--teacher"], ["--network", "teacher"]])
def test_two_ways_to_ask_for_the_teacher(flag):
    args = predict.parse_args([CONFIG, "a.pth", "a.png", "--out", "out", *flag])
    assert args.network == "teacher"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--teacher", "--network", "student"], "not allowed with argument"),
        (["--tta", "--scales", "1"], "exclude each other"),
        (["--scales", "0"], "--scales must be positive"),
        (["--scales", "1", "--batch-size", "2"], "--batch-size has no effect with --scales"),
        (["--batch-size", "0"], "--batch-size must be at least 1"),
        (["--stride", "8", "8"], "--stride is an option of --window"),
        (["--window", "8", "8", "--stride", "9", "8"], "--stride must be in 1..window"),
    ],
)
def test_bad_options_are_named(capsys, flags, message):
    with pytest.raises(SystemExit):
        predict.main([CONFIG, "a.pth", "a.png", "--out", "out", *flags])
    assert message in capsys.readouterr().err


def test_settings_are_plain(predicted):
    settings = json.loads((out_of(predicted) / "settings.json").read_text())
    assert settings["teacher"] is False
    assert len(settings["checkpoint"]) == 64


def test_a_hook_that_acts_in_tests_alone_is_named(checkpoint, validation, tmp_path, capsys):
    hook = "default_hooks.statistics.type=TestTimeBNHook"
    run(CONFIG, checkpoint, validation[0], "--out", tmp_path, "--cfg-options", OF_STUDENT, hook)
    assert "TestTimeBNHook acts before a test alone" in capsys.readouterr().out
