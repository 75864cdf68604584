import copy
import dataclasses
import errno
import os
import subprocess
import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.dataset import pseudo_collate
from mmseg.datasets import BaseSegDataset
from mmseg.registry import MODELS
from PIL import Image
from torch import nn

from mmdrsl import folder_lock
from mmdrsl.datasets.label_spaces import LABEL_SPACES
from mmdrsl.datasets.unlabeled import UnlabelledDataset
from mmdrsl.models.class_weights import class_weights_of
from mmdrsl.pseudo_labels.artifact import PseudoLabelArtifact
from mmdrsl.pseudo_labels.domain_scores import mean_entropy, soft_neighborhood_density
from mmdrsl.pseudo_labels.labeler import PseudoLabeler, model_hash
from mmdrsl.pseudo_labels.unfinished_round import UnfinishedRound
from mmdrsl.pseudo_labels.views import JointHeads, Views

SPACE = "street10"
CLASSES = LABEL_SPACES[SPACE].classes
HEIGHT, WIDTH = 22, 30
PIPELINE = [
    dict(type="LoadImage"),
    dict(type="PackSegInputs", meta_keys=("img_path", "ori_shape", "img_shape", "sample_id")),
]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    generator = np.random.default_rng(0)
    for name in ("a", "city/b", "city/c"):
        coarse = generator.integers(256, size=(4, 5, 3), dtype=np.uint8)
        path = root / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), cv2.resize(coarse, (WIDTH, HEIGHT)))
    return UnlabelledDataset(
        data_root=str(root), label_space=SPACE, pipeline=PIPELINE, test_mode=True
    )


def build(*, test_cfg=None, seed=0):
    torch.manual_seed(seed)
    model = MODELS.build(
        dict(
            type="EncoderDecoder",
            data_preprocessor=dict(
                type="SegDataPreProcessor", mean=[100.0] * 3, std=[50.0] * 3, bgr_to_rgb=True,
                size_divisor=8, test_cfg=test_cfg,
            ),
            backbone=dict(
                type="ResNet", depth=18, stem_channels=4, base_channels=4,
                strides=(1, 1, 1, 1), dilations=(1, 1, 1, 1), norm_cfg=dict(type="BN"),
            ),
            decode_head=dict(
                type="FCNHead", in_channels=32, in_index=3, channels=8, num_convs=1,
                num_classes=len(CLASSES), align_corners=False,
            ),
            train_cfg=dict(),
            test_cfg=ConfigDict(mode="whole"),
        )
    )  # fmt: skip
    # Spread-out logits, so that confidences differ and several classes are predicted.
    torch.nn.init.normal_(model.decode_head.conv_seg.weight, std=3.0)
    return model


def label(model, dataset, root, **options):
    labeler = PseudoLabeler(**{"portion": 0.3, **options})
    artifact = PseudoLabelArtifact(root)
    manifest = labeler.label(model=model, dataset=dataset, artifact=artifact, round_number=1)
    return artifact, manifest


def read(artifact, folder, name):
    return np.asarray(Image.open(artifact.root / folder / f"{name}.png"))


def expected_probabilities(model, dataset, index, *, flip):
    """Mean of the softmax over the views, written with the network's own parts."""
    image = cv2.imread(dataset.get_data_info(index)["img_path"])[..., ::-1].copy()
    inputs = (torch.from_numpy(image).permute(2, 0, 1)[None].float() - 100) / 50
    views = []
    model.eval()
    for mirrored in (False, True) if flip else (False,):
        view = torch.flip(inputs, [3]) if mirrored else inputs
        with torch.no_grad():
            logits = model.decode_head(model.backbone(view))
        logits = F.interpolate(logits, size=(HEIGHT, WIDTH), mode="bilinear", align_corners=False)
        views.append(torch.flip(logits.softmax(1), [3]) if mirrored else logits.softmax(1))
    return torch.stack(views).mean(0)[0]


@pytest.mark.parametrize("flip", [False, True])
def test_labels_against_manual_computation(dataset, tmp_path, flip):
    model = build()
    artifact, manifest = label(model, dataset, tmp_path / "r", flip=flip, prediction_stride=1)
    probabilities = [
        expected_probabilities(model, dataset, i, flip=flip).numpy() for i in range(len(dataset))
    ]
    stacked = np.stack(probabilities)
    predicted, confidence = stacked.argmax(1), stacked.max(1)
    thresholds = []
    for c in range(len(CLASSES)):
        own = np.sort(confidence[predicted == c])[::-1]
        exact = own[int(np.ceil(0.3 * len(own))) - 1] if len(own) else 1.0
        thresholds.append(np.clip(exact, 0.3, 0.95) if len(own) else 1.0)
        assert manifest.thresholds[CLASSES[c]] == pytest.approx(thresholds[c], abs=0.003)
    assert len({c for c in range(len(CLASSES)) if (predicted == c).any()}) > 2
    found_thresholds = np.array(list(manifest.thresholds.values()), dtype=np.float32)
    kept = np.zeros(len(CLASSES))
    for index, image in enumerate(probabilities):
        name = dataset.get_data_info(index)["sample_id"]
        ratios = image / found_thresholds[:, None, None]
        labels = np.where(ratios.max(0) >= 1, ratios.argmax(0), 255)
        found = read(artifact, "labels", name)
        # The cache is half precision, which moves pixels at a threshold.
        assert (found == labels).mean() > 0.98
        sure = found == labels
        chosen = np.take_along_axis(image, ratios.argmax(0)[None], 0)[0]
        gray = read(artifact, "confidence", name) / 255
        assert np.abs(gray - chosen)[sure].max() < 0.005
        kept += np.bincount(found[found != 255], minlength=len(CLASSES))
    totals = np.bincount(predicted.ravel(), minlength=len(CLASSES))
    assert manifest.coverage == pytest.approx(kept.sum() / predicted.size)
    for c, name in enumerate(CLASSES):
        assert manifest.kept_share[name] == pytest.approx(kept[c] / max(totals[c], 1), abs=0.02)


def test_files_and_manifest_agree(dataset, tmp_path):
    model = build()
    artifact, manifest = label(model, dataset, tmp_path / "r")
    assert artifact.read_manifest() == manifest
    assert artifact.problems(manifest) == []
    assert list(manifest.images) == ["a", "city/b", "city/c"]
    assert manifest.classes == list(CLASSES)
    assert manifest.model_hash == model_hash(model)
    assert manifest.policy["portion"] == 0.3
    assert manifest.policy["scales"] == [1.0]
    files = {str(p.relative_to(artifact.root)) for p in artifact.root.rglob("*") if p.is_file()}
    assert files == {"manifest.json"} | {
        f"{folder}/{name}.png"
        for folder in ("labels", "color", "confidence")
        for name in manifest.images
    }
    for name in manifest.images:
        assert read(artifact, "labels", name).shape == (HEIGHT, WIDTH)


class StoppedError(Exception):
    """Stands for a kill."""


def interrupt(monkeypatch, target, name, after):
    """Let a method fail from its n-th call on."""
    proceed, calls = getattr(target, name), []

    def counted(*args, **options):
        calls.append(args)
        if len(calls) > after:
            raise StoppedError
        return proceed(*args, **options)

    monkeypatch.setattr(target, name, counted)


@pytest.mark.parametrize("scales", [(1.0,), pytest.param((1.0, 0.5), marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("target", "name"), [(PseudoLabelArtifact, "write_image"), (UnfinishedRound, "cache")]
)
def test_interrupted_labeling_continues_with_the_same_result(
    dataset, tmp_path, monkeypatch, target, name, scales
):
    model = build()
    _, whole = label(model, dataset, tmp_path / "whole", scales=scales)
    with monkeypatch.context() as patch:
        interrupt(patch, target, name, after=1)
        with pytest.raises(StoppedError):
            label(model, dataset, tmp_path / "parts", scales=scales)
    unfinished = PseudoLabelArtifact(tmp_path / "parts")
    assert unfinished.read_manifest() is None
    assert (tmp_path / "parts" / ".unfinished").is_dir()
    written = []
    proceed = PseudoLabelArtifact.write_image
    monkeypatch.setattr(
        PseudoLabelArtifact,
        "write_image",
        lambda self, image_id, *args: (written.append(image_id), proceed(self, image_id, *args))[1],
    )
    artifact, continued = label(model, dataset, tmp_path / "parts", scales=scales)
    assert continued == whole
    assert artifact.problems(whole) == []
    assert len(written) == (3 if name == "cache" else 2)
    assert not (tmp_path / "parts" / ".unfinished").exists()


def test_attempt_of_another_labeling_is_not_continued(dataset, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        interrupt(patch, PseudoLabelArtifact, "write_image", after=2)
        with pytest.raises(StoppedError):
            label(build(seed=1), dataset, tmp_path / "r")
    _, expected = label(build(), dataset, tmp_path / "clean")
    _, found = label(build(), dataset, tmp_path / "r")
    assert found == expected


def test_full_disk_is_explained_and_the_round_before_survives(dataset, tmp_path, monkeypatch):
    before, manifest = label(build(), dataset, tmp_path / "round_1")

    def full(self, image_id, labels, confidence, palette):
        # A real device that is always full.
        with open("/dev/full", "wb", buffering=0) as file:
            file.write(labels.tobytes())

    with monkeypatch.context() as patch:
        patch.setattr(PseudoLabelArtifact, "write_image", full)
        with pytest.raises(OSError, match=r"round_2 is full.*Free some space") as error:
            label(build(seed=1), dataset, tmp_path / "round_2")
    assert error.value.errno == errno.ENOSPC
    assert before.problems(manifest) == []
    _, continued = label(build(seed=1), dataset, tmp_path / "round_2")
    assert continued == label(build(seed=1), dataset, tmp_path / "clean")[1]


def test_two_portions_never_mix_in_one_folder(dataset, tmp_path):
    """A second labeling of the folder is refused while the first has not ended."""
    program = "import runpy, sys; from pathlib import Path\n" + (
        "lock = runpy.run_path(sys.argv[1])['written_alone']\n"
        "with lock(Path(sys.argv[2])): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, folder_lock.__file__, str(tmp_path / "r")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(BlockingIOError, match="Another process is writing"):
            label(build(), dataset, tmp_path / "r", portion=0.5)
        other.stdin.close()
    artifact, manifest = label(build(), dataset, tmp_path / "r", portion=0.5)
    assert artifact.problems(manifest) == []


def test_a_manifest_counts_its_images_against_the_dataset(dataset, tmp_path, monkeypatch):
    records = UnfinishedRound.records

    def without_one(unfinished):
        return (entry for entry in records(unfinished) if entry["image"] != "city/b")

    # As where something else took notes away.
    monkeypatch.setattr(UnfinishedRound, "records", without_one)
    with pytest.raises(ValueError, match=r"2 images were labeled, the data set has 3.*'city/b'"):
        label(build(), dataset, tmp_path / "r")
    assert PseudoLabelArtifact(tmp_path / "r").read_manifest() is None


def test_cache_that_is_too_large_is_refused(dataset, tmp_path):
    with pytest.raises(ValueError, match="larger prediction_stride"):
        label(build(), dataset, tmp_path / "r", max_cache_gigabytes=1e-6)


def test_nothing_hidden_is_left(dataset, tmp_path):
    artifact, _ = label(build(), dataset, tmp_path / "r")
    assert sorted(path.name for path in artifact.root.iterdir()) == [
        "color", "confidence", "labels", "manifest.json",
    ]  # fmt: skip


def test_label_free_scores(dataset, tmp_path):
    model = build()
    _, first = label(model, dataset, tmp_path / "one", flip=False, prediction_stride=2, portion=0.9)
    views = Views(flip=False, stride=2)
    entropies, densities = [], []
    for item in range(len(dataset)):
        inputs = model.data_preprocessor(pseudo_collate([dataset[item]]))["inputs"]
        probabilities = views.predict(model.eval(), inputs)[:, :11, :15].half().double()
        columns = probabilities.flatten(1).t().tolist()
        entropies.append(np.mean([-sum(p * np.log(p) for p in c if p > 0) for c in columns]))
        densities.append(naive_density(probabilities.flatten(1).t().numpy()))
    assert first.scores["entropy"] == pytest.approx(np.mean(entropies) / np.log(len(CLASSES)), rel=1e-4)  # fmt: skip
    assert first.scores["soft_neighborhood_density"] == pytest.approx(np.mean(densities), rel=1e-3)
    assert "agreement" not in first.scores

    previous = PseudoLabelArtifact(tmp_path / "one")
    artifact = PseudoLabelArtifact(tmp_path / "two")
    second = PseudoLabeler(portion=0.9).label(
        model=build(seed=1), dataset=dataset, artifact=artifact, round_number=2, previous=previous
    )
    both = equal = 0
    for name in second.images:
        old, new = (read(each, "labels", name) for each in (previous, artifact))
        labeled = (old != 255) & (new != 255)
        both, equal = both + labeled.sum(), equal + (labeled & (old == new)).sum()
    assert second.scores["agreement"] == equal / both


def naive_density(vectors, num_pixels=128, temperature=0.05):
    """Entropy of each pixel's neighbor distribution, with loops."""
    chosen = vectors[np.linspace(0, len(vectors) - 1, num_pixels).astype(int)]
    chosen = chosen / np.linalg.norm(chosen, axis=1, keepdims=True)
    entropies = []
    for i in range(num_pixels):
        weights = [np.exp(chosen[i] @ chosen[j] / temperature) for j in range(num_pixels) if j != i]
        shares = np.array(weights) / sum(weights)
        entropies.append(-(shares * np.log(shares)).sum())
    return np.mean(entropies)


def test_density_is_high_where_predictions_cluster():
    # 128 pixels in two clusters have 63 near neighbors each; in pairs, one.
    clustered, pairs = (
        F.one_hot(torch.arange(128) % number, 64).t().reshape(64, 8, 16).float()
        for number in (2, 64)
    )
    assert soft_neighborhood_density(clustered) == pytest.approx(np.log(63), abs=1e-3)
    assert soft_neighborhood_density(pairs) == pytest.approx(0, abs=1e-3)
    sharp = clustered
    assert mean_entropy(sharp) == 0
    assert mean_entropy(torch.full((3, 4, 4), 1 / 3)) == pytest.approx(1)
    assert soft_neighborhood_density(sharp[:, :1, :1]) == 0


def adaptor(**segmentor):
    torch.manual_seed(5)
    plain = build()
    model = MODELS.build(
        dict(
            type="UDASegmentor",
            data_preprocessor=dict(type="UDADataPreprocessor", mean=[100.0] * 3, std=[50.0] * 3,
                                   bgr_to_rgb=True, size_divisor=8),
            segmentor=dict(
                type="EncoderDecoder",
                backbone=dict(type="ResNet", depth=18, stem_channels=4, base_channels=4,
                              strides=(1, 1, 1, 1), dilations=(1, 1, 1, 1),
                              norm_cfg=dict(type="BN")),
                decode_head=dict(type="FCNHead", in_channels=32, in_index=3, channels=8,
                                 num_convs=1, num_classes=len(CLASSES), align_corners=False),
                auxiliary_head=dict(type="FCNHead", in_channels=16, in_index=2, channels=8,
                                    num_convs=1, num_classes=len(CLASSES), align_corners=False),
                test_cfg=ConfigDict(mode="whole"),
            ),
            heads=dict(mmdl=dict(type="MMDLHead", in_channels=32, num_classes=len(CLASSES))),
        )
    )  # fmt: skip
    model.segmentor.load_state_dict(plain.state_dict(), strict=False)
    return model.eval()


@pytest.mark.parametrize("second", ["auxiliary", "mmdl", "classifier"])
@pytest.mark.parametrize("slide", [False, True])
def test_two_heads_on_the_same_features(second, slide):
    model = adaptor()
    # A further head of the adaptor, as the methods with two classifiers have it.
    model.heads["classifier"] = MODELS.build(
        dict(type="FCNHead", in_channels=16, in_index=2, channels=8, num_convs=1,
             num_classes=len(CLASSES), align_corners=False)
    ).eval()  # fmt: skip
    inputs = torch.randn(1, 3, 24, 32, generator=torch.Generator().manual_seed(0))
    network = JointHeads(model.segmentor, second, model.heads).eval()
    windows = [(0, 0, 24, 32)]
    if slide:
        network.test_cfg = ConfigDict(mode="slide", crop_size=(24, 16), stride=(24, 16))
        windows = [(0, 0, 24, 16), (0, 16, 24, 16)]
    found = Views(flip=False, stride=1).predict(network, inputs)
    mains, seconds = torch.zeros(2, 1, len(CLASSES), 24, 32)
    with torch.no_grad():
        for top, left, height, width in windows:
            place = (..., slice(top, top + height), slice(left, left + width))
            features = model.extract_feat(inputs[place])
            main = model.segmentor.decode_head(features)
            if second == "mmdl":
                other = model.heads["mmdl"].log_posterior(model.heads["mmdl"](features))
            elif second == "classifier":
                other = model.heads["classifier"](features)
            else:
                other = model.segmentor.auxiliary_head(features)
            for target, logits in ((mains, main), (seconds, other)):
                target[place] = F.interpolate(logits, (height, width), mode="bilinear").softmax(1)
    torch.testing.assert_close(found[None], mains, rtol=1e-4, atol=1e-5)
    network.second_weight = 0.25
    pooled = Views(flip=False, stride=1).predict(network, inputs)
    product = mains**0.75 * seconds**0.25
    torch.testing.assert_close(
        pooled[None], product / product.sum(dim=1, keepdim=True), rtol=1e-3, atol=1e-4
    )


def weighted(segmentor, weights):
    """The same segmentor with class weights in its cross entropy."""
    segmentor.decode_head.loss_decode = MODELS.build(
        dict(type="CrossEntropyLoss", class_weight=weights)
    )
    return segmentor


def test_class_weights_are_undone_before_the_heads_are_pooled():
    model = adaptor()
    weights = [0.5 + index for index in range(len(CLASSES))]
    inputs = torch.randn(1, 3, 24, 32, generator=torch.Generator().manual_seed(0))
    network = JointHeads(weighted(model.segmentor, weights), "mmdl", model.heads).eval()
    both = Views(stride=1).predict(network, inputs)
    network.second_weight = 1.0
    second = Views(stride=1).predict(network, inputs)
    network.second_weight = 0.5
    found = Views(stride=1, undo_class_weights=True).predict(network, inputs)
    main = both / torch.tensor(weights)[:, None, None]
    main /= main.sum(dim=0, keepdim=True)
    pooled = (main * second).sqrt()
    torch.testing.assert_close(found, pooled / pooled.sum(dim=0, keepdim=True))


def test_of_a_cascade_the_head_that_predicts_has_the_class_weights():
    first, last = (build().decode_head for _ in range(2))
    weighted(SimpleNamespace(decode_head=last), [2.0] * len(CLASSES))
    cascade = SimpleNamespace(decode_head=nn.ModuleList([first, last]))
    assert class_weights_of(cascade).tolist() == [2.0] * len(CLASSES)
    # A head that is made of others, as K-Net's.
    with pytest.raises(ValueError, match="Identity is trained without class weights"):
        class_weights_of(SimpleNamespace(decode_head=nn.Identity()))


def test_undone_class_weights_give_the_frequencies_of_the_labels():
    # A head that sees nothing learns the frequencies alone: the minimum of its weighted cross entropy is known.
    frequency, weights = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([1.0, 2.0, 6.0])
    logits = torch.zeros(3, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=100)

    def closure():
        optimizer.zero_grad()
        loss = -(frequency * weights * logits.log_softmax(0)).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    found = logits.detach().softmax(0)
    assert (found - frequency).abs().max() > 0.2
    undone = found / weights
    torch.testing.assert_close(undone / undone.sum(), frequency, rtol=1e-3, atol=1e-4)


def test_labels_with_undone_class_weights(dataset, tmp_path):
    weights = [1.0] * (len(CLASSES) - 1) + [1000.0]
    model = weighted(build(), weights)
    _, as_they_are = label(model, dataset, tmp_path / "a")
    artifact, undone = label(model, dataset, tmp_path / "b", undo_class_weights=True)
    assert undone.policy["undo_class_weights"]
    assert not as_they_are.policy["undo_class_weights"]
    labels = np.concatenate(
        [read(artifact, "labels", name).ravel() for name in ("a", "city/b", "city/c")]
    )
    assert (labels != 255).any()
    assert not (labels == len(CLASSES) - 1).any()
    with pytest.raises(ValueError, match="FCNHead is trained without class weights"):
        label(build(), dataset, tmp_path / "c", undo_class_weights=True)


def test_two_heads_label_a_dataset(dataset, tmp_path):
    def two(second_head):
        return dict(second_head=second_head, second_weight=0.5)

    model = adaptor()
    _, one = label(model, dataset, tmp_path / "one")
    _, modes = label(model, dataset, tmp_path / "modes", policy=two("mmdl"))
    _, auxiliary = label(model, dataset, tmp_path / "auxiliary", policy=two("auxiliary"))
    assert modes.images != one.images != auxiliary.images != modes.images
    assert (modes.policy["second_head"], modes.policy["second_weight"]) == ("mmdl", 0.5)
    assert modes.model_hash != one.model_hash
    with pytest.raises(ValueError, match="'nothing'; the model has the heads"):
        label(model, dataset, tmp_path / "c", policy=two("nothing"))
    with pytest.raises(ValueError, match="'auxiliary'; the model has the heads"):
        label(build(), dataset, tmp_path / "d", policy=two("auxiliary"))


def test_sliding_windows_by_the_labeler(dataset, tmp_path):
    model = build()
    slide = dict(mode="slide", crop_size=(16, 16), stride=(8, 8))
    _, whole = label(model, dataset, tmp_path / "a")
    _, windows = label(model, dataset, tmp_path / "b", test_cfg=slide)
    assert whole.images != windows.images
    assert model.test_cfg.mode == "whole"
    assert windows.policy["test_cfg"] == dict(mode="slide", crop_size=[16, 16], stride=[8, 8])


def test_labels_serve_a_plain_supervised_config(dataset, tmp_path):
    """Stock MMSegmentation reads the artifact as ordinary annotation."""
    artifact, _ = label(build(), dataset, tmp_path / "r")
    stock = BaseSegDataset(
        data_root="",
        data_prefix=dict(img_path=dataset.data_root, seg_map_path=str(artifact.root / "labels")),
        img_suffix=".png",
        seg_map_suffix=".png",
        metainfo=dict(classes=CLASSES),
        reduce_zero_label=False,
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="LoadAnnotations"),
            dict(type="PackSegInputs"),
        ],
    )
    assert len(stock) == 3
    model = build().train()
    values = model.loss(**model.data_preprocessor(pseudo_collate([stock[0], stock[1]]), True))
    assert torch.isfinite(values["decode.loss_ce"])
    for item in range(3):
        sample = stock[item]["data_samples"]
        name = os.path.relpath(sample.img_path, dataset.data_root).removesuffix(".png")
        assert np.array_equal(sample.gt_sem_seg.data[0].numpy(), read(artifact, "labels", name))


def test_labeling_is_deterministic_and_changes_nothing(dataset, tmp_path):
    model = build().train()
    before = copy.deepcopy(model.state_dict())
    _, first = label(model, dataset, tmp_path / "one")
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    torch.manual_seed(123)
    _, second = label(model.eval(), dataset, tmp_path / "two")
    assert not model.training
    assert first == second


def test_old_files_go(dataset, tmp_path):
    stale = tmp_path / "r/labels/old.png"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"")
    # Labels of an attempt of another model; without its mark they may be anybody's.
    with pytest.raises(FileExistsError, match="no pseudo labels"):
        label(build(), dataset, tmp_path / "r")
    assert stale.exists()
    (tmp_path / "r/.unfinished").mkdir()
    label(build(), dataset, tmp_path / "r")
    assert not stale.exists()


def test_padding_of_the_preprocessor_is_cut_off(dataset, tmp_path):
    """Padded inputs must not squeeze the labels into a corner."""
    model = build(test_cfg=dict(size_divisor=64))
    artifact, _ = label(
        model, dataset, tmp_path / "r", flip=False, prediction_stride=1, portion=1.0
    )
    name = dataset.get_data_info(0)["sample_id"]
    inputs = model.data_preprocessor(dict(inputs=[dataset[0]["inputs"]],
                                          data_samples=[dataset[0]["data_samples"]]))  # fmt: skip
    assert inputs["inputs"].shape[2:] == (64, 64)
    with torch.no_grad():
        logits = model.eval().encode_decode(
            inputs["inputs"], [dict(ori_shape=(64, 64), img_shape=(64, 64))]
        )
    predicted = logits[0, :, :HEIGHT, :WIDTH].argmax(0).numpy()
    found = read(artifact, "labels", name)
    kept = found != 255
    assert kept.any()
    assert (found[kept] == predicted[kept]).mean() > 0.9


@pytest.mark.parametrize("stride", [1, 2])
def test_views_of_other_scales(stride):
    model = build().eval()
    inputs = torch.randn(1, 3, HEIGHT, WIDTH)
    found = Views(flip=True, scales=(1.0, 2.0), stride=stride).predict(model, inputs)
    views = []
    with torch.no_grad():
        for scale in (1, 2):
            for flipped in (False, True):
                view = F.interpolate(inputs, scale_factor=scale, mode="bilinear")
                logits = model.decode_head(model.backbone(view.flip(3) if flipped else view))
                # The value of the interpolated logits at the centers of the cells.
                logits = F.interpolate(logits, (HEIGHT // stride, WIDTH // stride), mode="bilinear")
                views.append(logits.softmax(1).flip(3) if flipped else logits.softmax(1))
    wanted = torch.stack(views).mean(dim=0)[0]
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_model_hash():
    model, same = build(), build()
    assert model_hash(model) == model_hash(same)
    with torch.no_grad():
        same.decode_head.conv_seg.bias[0] += 1e-6
    assert model_hash(model) != model_hash(same)
    same = build()
    same.backbone.bn1.running_mean[0] += 1
    assert model_hash(model) != model_hash(same)


@pytest.mark.parametrize(
    "options",
    [dict(portion=0), dict(portion=0.5, prediction_stride=0), dict(portion=0.5, scales=()),
     dict(portion=0.5, scales=(0.0,))],
)  # fmt: skip
def test_labeler_refuses(options):
    with pytest.raises(ValueError, match="found"):
        PseudoLabeler(**options)


def test_manifest_is_plain(dataset, tmp_path):
    _, manifest = label(build(), dataset, tmp_path / "r")
    assert all(isinstance(value, float) for value in manifest.thresholds.values())
    assert dataclasses.replace(manifest, round=2) != manifest


def test_lost_weights_label_nothing(dataset, tmp_path):
    artifact, manifest = label(build(), dataset, tmp_path / "r")
    model = build()
    model.decode_head.conv_seg.bias.data[0] = float("nan")
    with pytest.raises(FloatingPointError, match=r"such as decode_head\.conv_seg\.bias"):
        label(model, dataset, tmp_path / "r")
    # What was there before is untouched.
    assert artifact.read_manifest() == manifest
    assert not artifact.problems(manifest)


def test_lost_predictions_label_nothing(dataset, tmp_path):
    model = build()
    # Finite weights whose product is not.
    for layer in (model.decode_head.convs[0].conv, model.decode_head.conv_seg):
        layer.weight.data.mul_(1e30)
    with pytest.raises(FloatingPointError, match="prediction for the image a holds NaN or Inf"):
        label(model, dataset, tmp_path / "r")
    assert not (tmp_path / "r" / "manifest.json").exists()
