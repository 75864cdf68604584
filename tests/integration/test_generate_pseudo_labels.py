import json
import signal

import cv2
import numpy as np
import pytest
import torch
from cityscapesscripts.helpers.labels import labels
from mmengine.config import Config
from run_tools import DRSL_CONFIG, ROOT, run_ranks, run_tool

from mmdrsl.engine.labeling import build_labeling, use_target_statistics
from mmdrsl.pseudo_labels.artifact import PseudoLabelArtifact
from mmdrsl.pseudo_labels.labeler import model_hash

TOOL = "tools/generate_pseudo_labels.py"
OPTIONS = ["default_hooks.self_training.labeler.policy.lowest_threshold=0.05"]
KILL = """
import os, signal
from mmdrsl.pseudo_labels import PseudoLabelArtifact
proceed, written = PseudoLabelArtifact.write_image, []

def kill(artifact, image_id, *arguments):
    if len(written) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    written.append(image_id)
    return proceed(artifact, image_id, *arguments)

PseudoLabelArtifact.write_image = kill
"""


def command(checkpoint, out, *flags):
    return [
        TOOL, DRSL_CONFIG, str(checkpoint), "--out", str(out), "--portion", "0.3",
        *flags, "--cfg-options", *OPTIONS,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def whole(uninterrupted_run, scenes_root, tmp_path_factory):
    out = tmp_path_factory.mktemp("labels") / "whole"
    checkpoint = uninterrupted_run / "iter_10.pth"
    output = run_tool(command(checkpoint, out, "--num-workers", "1"), scenes_root)
    assert "6 images" in output
    return out


def manifest(out):
    return json.loads((out / "manifest.json").read_text())


def test_killed_tool_picks_up_where_it_stopped(whole, uninterrupted_run, scenes_root, tmp_path):
    arguments = command(uninterrupted_run / "iter_10.pth", tmp_path / "out")
    run_tool(arguments, scenes_root, before=KILL, status=-signal.SIGKILL)
    done = len(list((tmp_path / "out" / "labels").rglob("*.png")))
    assert 0 < done < 6
    run_tool(arguments, scenes_root)
    assert manifest(tmp_path / "out") == manifest(whole)
    artifact = PseudoLabelArtifact(tmp_path / "out")
    assert artifact.problems(artifact.read_manifest()) == []


def test_weights_of_another_network_label_nothing(
    uninterrupted_run, scenes_root, tmp_path, monkeypatch
):
    monkeypatch.setenv("MMDRSL_SCENES", str(scenes_root))
    stored = torch.load(uninterrupted_run / "iter_10.pth", weights_only=False)["state_dict"]
    weights = {name: value for name, value in stored.items() if not name.startswith("teacher.")}
    plain = {name: value for name, value in weights.items() if not name.startswith("heads.")}
    shaped = {**weights, "segmentor.decode_head.conv_seg.weight": torch.zeros(1)}
    cfg = Config.fromfile(str(ROOT / DRSL_CONFIG))
    # What labels no pixel does not matter.
    torch.save(
        {"state_dict": {**weights, "heads.other.weight": torch.zeros(1)}}, tmp_path / "a.pth"
    )
    build_labeling(cfg, checkpoint=str(tmp_path / "a.pth"))
    for content, message in (
        ({"backbone.conv99.weight": torch.zeros(1)}, "does not fit the model"),
        # DRSL's labels need the head of the modes.
        (plain, r"missing \(heads\.mmdl\."),
        (shaped, r"1 of another shape \(segmentor\.decode_head\.conv_seg\.weight \(1\) instead"),
    ):
        torch.save({"state_dict": content}, tmp_path / "other.pth")
        with pytest.raises(ValueError, match=message):
            build_labeling(cfg, checkpoint=str(tmp_path / "other.pth"))


def test_the_hook_says_what_predicts_where_the_checkpoint_has_it(
    uninterrupted_run, scenes_root, tmp_path, monkeypatch
):
    monkeypatch.setenv("MMDRSL_SCENES", str(scenes_root))
    checkpoint = torch.load(uninterrupted_run / "iter_10.pth", weights_only=False)
    weights = checkpoint["state_dict"]
    assert int(weights["teacher.steps"]) > 0
    own = {name: value for name, value in weights.items() if not name.startswith("teacher.")}
    # A teacher that no hook has updated is the network of the start.
    idle = {**weights, "teacher.steps": torch.tensor(0)}
    for name, content in (("with", weights), ("without", own), ("idle", idle)):
        torch.save({"state_dict": content}, tmp_path / f"{name}.pth")
    first = "module.segmentor.decode_head.conv_seg.weight"
    for said, asked, name, expected in (
        ("teacher", None, "with", True), ("teacher", False, "with", False), ("teacher", None, "without", False),
        ("teacher", None, "idle", False), ("student", None, "with", False), ("student", True, "with", True),
    ):  # fmt: skip
        cfg = Config.fromfile(str(ROOT / DRSL_CONFIG))
        cfg.default_hooks.self_training.label_with = said
        job = build_labeling(cfg, checkpoint=str(tmp_path / f"{name}.pth"), teacher=asked)
        assert job.of_teacher is expected
        predicting = job.networks["segmentor"].decode_head.conv_seg.weight
        stored = weights[f"teacher.{first}"] if expected else weights[first.removeprefix("module.")]
        assert torch.equal(predicting.cpu(), stored)
    with pytest.raises(ValueError, match=r"without\.pth holds no teacher .*: leave --teacher out"):
        build_labeling(cfg, checkpoint=str(tmp_path / "without.pth"), teacher=True)


def test_the_portion_is_that_of_the_last_round(scenes_root, monkeypatch):
    monkeypatch.setenv("MMDRSL_SCENES", str(scenes_root))
    cfg = Config.fromfile(str(ROOT / DRSL_CONFIG))
    cfg.default_hooks.self_training.rounds = [
        dict(iterations=1, portion=portion, target_share=0.5) for portion in (0.2, 0.3)
    ]
    assert build_labeling(cfg).labeler.policy.portion == 0.3
    assert build_labeling(cfg, portion=0.1).labeler.policy.portion == 0.1


def test_labels_of_another_round_are_refused(whole, uninterrupted_run, scenes_root):
    arguments = command(uninterrupted_run / "iter_10.pth", whole, "--round", "2")
    assert "labels of round 1, not 2" in run_tool(arguments, scenes_root, status=1)


def test_a_folder_of_other_files_is_left_alone(uninterrupted_run, scenes_root, tmp_path):
    (tmp_path / "photo.png").write_bytes(b"precious")
    arguments = command(uninterrupted_run / "iter_10.pth", tmp_path)
    assert "which are no pseudo labels" in run_tool(arguments, scenes_root, status=1)
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]


@pytest.mark.slow
def test_two_ranks_write_the_same_artifact_as_one(whole, uninterrupted_run, scenes_root, tmp_path):
    run_ranks(command(uninterrupted_run / "iter_10.pth", tmp_path / "out"), scenes_root)
    assert manifest(tmp_path / "out") == manifest(whole)
    for folder in ("labels", "color", "confidence"):
        for path in sorted((whole / folder).rglob("*.png")):
            other = tmp_path / "out" / folder / path.relative_to(whole / folder)
            assert other.read_bytes() == path.read_bytes()


@pytest.mark.slow
def test_complete_labels_are_checked_not_made_again(whole, uninterrupted_run, scenes_root):
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*")}
    run_tool(command(uninterrupted_run / "iter_10.pth", whole), scenes_root)
    assert before == {path: path.stat().st_mtime_ns for path in whole.rglob("*")}


def test_labels_are_compared_with_those_of_the_labeled_target(
    whole, uninterrupted_run, scenes_root
):
    output = run_tool(command(uninterrupted_run / "iter_10.pth", whole, "--analyze"), scenes_root)
    lines = output.split("right of the labels of 6 images, %:\n")[1].splitlines()
    shares = dict(line.strip().rsplit(maxsplit=1) for line in lines)
    # Counted here from the files: the scenes' own labels, by Cityscapes' names, beside the pseudo labels.
    names = [name.strip() for name in shares if name != "all"]
    ids = {label.id: names.index(label.name) for label in labels if label.name in names}
    right = labeled = 0
    for path in sorted((whole / "labels").rglob("*.png")):
        label = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        frame = path.stem.removesuffix("_leftImg8bit")
        (file,) = scenes_root.rglob(f"camera/gtFine/train/**/{frame}_gtFine_labelIds.png")
        truth = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        truth = np.vectorize(lambda value: ids.get(value, 255))(truth)
        known = (label != 255) & (truth != 255)
        right += (label == truth)[known].sum()
        labeled += known.sum()
    assert float(shares["all"]) == pytest.approx(100 * right / labeled, abs=0.06)


@pytest.mark.slow
def test_labels_of_another_model_are_refused(whole, uninterrupted_run, scenes_root, tmp_path):
    arguments = command(uninterrupted_run / "iter_10.pth", whole)
    arguments[arguments.index("0.3")] = "0.4"
    assert "labeled with other settings" in run_tool(arguments, scenes_root, status=1)


def test_statistics_of_the_target(scenes_root, monkeypatch):
    """Those of the images themselves, mixed with what the layers held."""
    monkeypatch.setenv("MMDRSL_SCENES", str(scenes_root))
    job = build_labeling(Config.fromfile(str(ROOT / DRSL_CONFIG)))
    backbone, weights = job.networks["segmentor"].backbone, model_hash(job.networks)
    before = backbone.bn1.running_mean.clone()
    images = [job.dataset[index]["inputs"] for index in range(6)]
    batch = job.model.data_preprocessor(dict(inputs=images), False)["inputs"]
    seen = backbone.conv1(batch).mean(dim=(0, 2, 3))
    use_target_statistics(job, 0.25)
    expected = 0.75 * before + 0.25 * seen
    torch.testing.assert_close(backbone.bn1.running_mean, expected, rtol=1e-4, atol=1e-5)
    assert not any(module.training for module in job.networks.modules())
    # Labels of other statistics are another model's, so that a folder never holds both.
    assert model_hash(job.networks) != weights


def test_a_weight_of_the_target_that_is_none(uninterrupted_run, scenes_root, tmp_path):
    arguments = command(uninterrupted_run / "iter_10.pth", tmp_path / "out", "--target-bn", "2")
    output = run_tool(arguments, scenes_root, status=1)
    assert "target_weight must be in (0, 1], found 2.0" in output
