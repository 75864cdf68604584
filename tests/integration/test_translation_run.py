import json
import signal

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmseg.registry import DATASETS, MODELS
from run_tools import ROOT, run_tool
from run_tools import train_command as shortened_run

from mmdrsl.datasets.image_header import read_header
from mmdrsl.datasets.transforms.loading import LoadLabels

CONFIG = "configs/translation/cycada_scenes2scenes.py"
SOURCE_ONLY = "configs/source_only/deeplabv3plus_scenes2scenes.py"
KILL_TRAINING = """
import os, signal
from mmdrsl.engine.hooks import StepSeedHook
proceed = StepSeedHook.before_train_iter

def kill(hook, runner, *args, **kwargs):
    if runner.iter == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    proceed(hook, runner, *args, **kwargs)

StepSeedHook.before_train_iter = kill
"""
KILL_EXPORT = """
import os, signal
from mmdrsl.translation import TranslatedFolder
proceed, written = TranslatedFolder.write, []

def kill(folder, sample_id, *args, **kwargs):
    written.append(sample_id)
    if len(written) == 6:
        os.kill(os.getpid(), signal.SIGKILL)
    return proceed(folder, sample_id, *args, **kwargs)

TranslatedFolder.write = kill
"""


def train_command(work_dir, segmentor, *flags):
    options = [
        "train_cfg.max_iters=6",
        "param_scheduler.0.begin=3",
        "param_scheduler.0.end=6",
        "model.generator.base_channels=4",
        "model.generator.num_blocks=1",
        "model.discriminator.base_channels=4",
        "model.discriminator.num_conv=2",
        "model.buffer_size=2",
        "model.semantic.begin=1",
        "model.semantic.ramp=2",
        f"model.semantic.checkpoint={segmentor}",
        "default_hooks.checkpoint.interval=2",
        "default_hooks.logger.interval=1",
        "default_hooks.samples.interval=3",
        *(
            f"train_dataloader.dataset.{domain}.pipeline.{step}"
            for domain in ("source", "target")
            for step in ("2.scale=(128,64)", "3.crop_size=(32,32)")
        ),
    ]
    return ["tools/train.py", CONFIG, "--work-dir", work_dir, *flags, "--cfg-options", *options]


def export_command(work_dir, out):
    config, checkpoint = work_dir / "cycada_scenes2scenes.py", work_dir / "iter_6.pth"
    return ["tools/translate_dataset.py", config, checkpoint, "--out", out]


def files(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def segmentor(tmp_path_factory):
    """A segmentor as the config wants it, with random weights."""
    path = tmp_path_factory.mktemp("segmentor") / "segmentor.pth"
    torch.manual_seed(0)
    network = MODELS.build(Config.fromfile(ROOT / CONFIG).model.semantic.segmentor)
    torch.save(dict(state_dict=network.state_dict()), path)
    return path


@pytest.fixture(scope="module")
def whole_run(scenes_root, segmentor, tmp_path_factory):
    work_dir = tmp_path_factory.mktemp("translator") / "whole"
    run_tool(train_command(work_dir, segmentor), scenes_root)
    return work_dir


@pytest.fixture(scope="module")
def whole_export(scenes_root, whole_run, tmp_path_factory):
    out = tmp_path_factory.mktemp("translated") / "whole"
    run_tool(export_command(whole_run, out), scenes_root)
    return out


def test_training_logs_sheets_and_export_keeps_names_and_sizes(
    scenes_root, whole_run, whole_export
):
    sheets = list(whole_run.rglob("vis_image/translation_*"))
    assert len(sheets) == 2
    assert cv2.imread(str(sheets[0])).shape == (64, 96, 3)
    originals = sorted((scenes_root / "game/images").rglob("*.png"))
    translated = sorted((whole_export / "images").rglob("*.png"))
    assert [path.stem for path in translated] == [path.stem for path in originals]
    for path, original in zip(translated, originals, strict=True):
        with open(path, "rb") as new, open(original, "rb") as old:
            assert read_header(new, str(path)).size == read_header(old, str(original)).size


def naive_scores(network, pairs):
    """Pixel accuracy on originals and translations, and the share of equal predictions, in percent; by plain loops."""
    right, same, labeled, pixels = {"original": 0, "translated": 0}, 0, 0, 0
    for original, translation, labels in pairs:
        found = {}
        for kind, path in (("original", original), ("translated", translation)):
            image = torch.from_numpy(cv2.imread(str(path))[..., ::-1].copy()).permute(2, 0, 1)
            mean, std = (
                torch.tensor([123.675, 116.28, 103.53]),
                torch.tensor([58.395, 57.12, 57.375]),
            )
            image = ((image - mean[:, None, None]) / std[:, None, None])[None].float()
            with torch.no_grad():
                logits = network.decode_head(network.backbone(image))
                logits = F.interpolate(
                    logits, image.shape[2:], mode="bilinear", align_corners=False
                )
            found[kind] = logits.argmax(1)[0].numpy()
            right[kind] += int((found[kind] == labels)[labels != 255].sum())
        same += int((found["original"] == found["translated"]).sum())
        labeled, pixels = labeled + int((labels != 255).sum()), pixels + labels.size
    return {kind: 100 * value / labeled for kind, value in right.items()}, 100 * same / pixels


def test_audit_of_an_export(scenes_root, whole_export, tmp_path):
    cfg = Config.fromfile(ROOT / SOURCE_ONLY)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).eval()
    # Without training all classes are alike; these differ from place to place.
    torch.nn.init.normal_(model.decode_head.conv_seg.weight, std=1.0)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / "judge.pth")
    output = run_tool(
        [
            *("tools/analysis_tools/evaluate_translation.py", SOURCE_ONLY),
            *(str(tmp_path / "judge.pth"), str(whole_export)),
            *("--out", str(tmp_path / "audit"), "--num-rows", "3"),
        ],
        scenes_root,
    )
    report = json.loads((tmp_path / "audit/audit.json").read_text())
    dataset = DATASETS.build(dict(cfg.source_dataset, data_root=str(scenes_root / "game")))
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    pairs = [
        (
            info["img_path"],
            whole_export / "images" / f"{info['sample_id']}.png",
            LoadLabels().transform(dict(info, ori_shape=(64, 128)))["gt_seg_map"],
        )
        for info in infos
    ]
    assert len(pairs) == len(report["images"]) == 12
    accuracy, agreement = naive_scores(model.segmentor, pairs)
    for kind, value in accuracy.items():
        assert report[kind]["pixel_accuracy"] == pytest.approx(value, abs=0.1)
    assert report["agreement"] == pytest.approx(agreement, abs=0.1)
    assert 0 < report["agreement"] < 100
    statistics = report["statistics"]
    assert [statistics[kind]["num_images"] for kind in ("original", "translated", "target")] == [
        *(12, 12, 6)
    ]
    means = np.mean([cv2.imread(str(path)).mean((0, 1)) for _, path, _ in pairs], axis=0)
    assert statistics["translated"]["mean"] == pytest.approx(means[::-1].tolist(), abs=1e-3)
    sheet = cv2.imread(str(tmp_path / "audit/sheet.jpg"))
    assert sheet.shape == (3 * 164, 6 * 324, 3)
    assert f"{report['agreement']:.2f} % of the pixels" in output


def test_learning_rate_falls_and_generators_moved(whole_run):
    checkpoints = torch.load(whole_run / "iter_6.pth", map_location="cpu", weights_only=False)
    assert set(checkpoints["optimizer"]) == {"generators", "discriminators"}
    for state in checkpoints["optimizer"].values():
        assert state["param_groups"][0]["lr"] < 1e-4
        assert state["param_groups"][0]["initial_lr"] == 2e-4
    names = set(checkpoints["state_dict"])
    assert {"image_buffers.source", "image_buffers.target"} <= names
    assert len(checkpoints["state_dict"]["image_buffers.target"]) == 2


@pytest.mark.slow
def test_killed_and_resumed_training_ends_the_same(scenes_root, segmentor, whole_run, tmp_path):
    work_dir = tmp_path / "killed"
    command = train_command(work_dir, segmentor)
    run_tool(command, scenes_root, before=KILL_TRAINING, status=-signal.SIGKILL)
    assert (work_dir / "iter_4.pth").is_file()
    run_tool(train_command(work_dir, segmentor, "--resume"), scenes_root)
    expected, found = (
        torch.load(folder / "iter_6.pth", map_location="cpu", weights_only=False)
        for folder in (whole_run, work_dir)
    )
    assert expected["state_dict"].keys() == found["state_dict"].keys()
    for name, value in expected["state_dict"].items():
        assert torch.equal(value, found["state_dict"][name]), name
    for name, optimizer in expected["optimizer"].items():
        for index, state in optimizer["state"].items():
            for key, value in state.items():
                assert torch.equal(value, found["optimizer"][name]["state"][index][key])


@pytest.mark.slow
def test_killed_and_continued_export_ends_the_same(scenes_root, whole_run, whole_export, tmp_path):
    command = export_command(whole_run, tmp_path / "out")
    run_tool(command, scenes_root, before=KILL_EXPORT, status=-signal.SIGKILL)
    assert len(list((tmp_path / "out/images").rglob("*.png"))) == 5
    output = run_tool(command, scenes_root)
    assert "12 images, 5 of them were there already" in output
    assert files(tmp_path / "out") == files(whole_export)


@pytest.mark.slow
def test_the_six_steps(scenes_root, tmp_path):
    """The commands of docs/translation.md on the scenes, each shortened to a few steps."""
    judge, translator, adapted = (tmp_path / name for name in ("judge", "translator", "adapted"))

    run_tool(
        [
            *("tools/train.py", SOURCE_ONLY, "--work-dir", str(judge)),
            *("--cfg-options", "train_cfg.max_iters=2", "train_cfg.val_interval=2"),
            "default_hooks.checkpoint.interval=2",
        ],
        scenes_root,
    )
    run_tool(train_command(translator, judge / "iter_2.pth"), scenes_root)
    run_tool(export_command(translator, tmp_path / "translated"), scenes_root)
    run_tool(
        shortened_run(
            adapted,
            f"train_dataloader.dataset.source.translations={tmp_path / 'translated'}",
            config="configs/cycada/deeplabv3plus_scenes2scenes.py",
            source="source.dataset",
        ),
        scenes_root,
    )
    rounds = json.loads((adapted / "rounds.json").read_text())
    assert sorted(rounds) == ["0", "1", "2", "3"]
    assert all("mIoU" in entry["metrics"] for entry in rounds.values())
    # The frozen segmentor of the translator is the one that was trained first.
    trained, kept = (
        torch.load(path, map_location="cpu", weights_only=False)["state_dict"]
        for path in (judge / "iter_2.pth", translator / "iter_6.pth")
    )
    weights = [name for name in trained if name.startswith("segmentor.")]
    assert weights
    assert all(torch.equal(trained[name], kept[f"semantic.{name}"]) for name in weights)
