import copy
import dataclasses

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmseg.registry import MODELS
from PIL import Image

from mmdrsl.datasets import LABEL_SPACES, UnlabelledDataset
from mmdrsl.self_training import PseudoLabelArtefact, PseudoLabeller, model_hash

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
    labeller = PseudoLabeller(portion=options.pop("portion", 0.3), **options)
    artefact = PseudoLabelArtefact(root)
    manifest = labeller.label(model=model, dataset=dataset, artefact=artefact, round_number=1)
    return artefact, manifest


def read(artefact, folder, name):
    return np.asarray(Image.open(artefact.root / folder / f"{name}.png"))


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
    artefact, manifest = label(model, dataset, tmp_path / "r", flip=flip, spool_stride=1)
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
    found_thresholds = np.array(list(manifest.thresholds.values()))
    kept = np.zeros(len(CLASSES))
    for index, image in enumerate(probabilities):
        name = dataset.get_data_info(index)["sample_id"]
        ratios = image / found_thresholds[:, None, None]
        labels = np.where(ratios.max(0) >= 1, ratios.argmax(0), 255)
        found = read(artefact, "labels", name)
        # The spool is half precision, which moves pixels at a threshold.
        assert (found == labels).mean() > 0.98
        sure = found == labels
        chosen = np.take_along_axis(image, ratios.argmax(0)[None], 0)[0]
        grey = read(artefact, "confidence", name) / 255
        assert np.abs(grey - chosen)[sure].max() < 0.005
        kept += np.bincount(found[found != 255], minlength=len(CLASSES))
    totals = np.bincount(predicted.ravel(), minlength=len(CLASSES))
    assert manifest.coverage == pytest.approx(kept.sum() / predicted.size)
    for c, name in enumerate(CLASSES):
        assert manifest.kept_share[name] == pytest.approx(kept[c] / max(totals[c], 1), abs=0.02)


def test_files_and_manifest_agree(dataset, tmp_path):
    model = build()
    artefact, manifest = label(model, dataset, tmp_path / "r")
    assert artefact.read_manifest() == manifest
    assert artefact.problems(manifest) == []
    assert list(manifest.images) == ["a", "city/b", "city/c"]
    assert manifest.classes == list(CLASSES)
    assert manifest.model_hash == model_hash(model)
    assert manifest.policy["portion"] == 0.3
    assert manifest.policy["scales"] == [1.0]
    files = {str(p.relative_to(artefact.root)) for p in artefact.root.rglob("*") if p.is_file()}
    assert files == {"manifest.json"} | {
        f"{folder}/{name}.png"
        for folder in ("labels", "color", "confidence")
        for name in manifest.images
    }
    for name in manifest.images:
        assert read(artefact, "labels", name).shape == (HEIGHT, WIDTH)


def test_spool_is_removed(dataset, tmp_path):
    artefact, _ = label(build(), dataset, tmp_path / "r")
    assert not list(artefact.root.glob(".spool_*"))


def test_spool_is_removed_after_a_failure(dataset, tmp_path, monkeypatch):
    model = build()
    monkeypatch.setattr(PseudoLabelArtefact, "write_image", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        label(model, dataset, tmp_path / "r")
    assert not list((tmp_path / "r").glob(".spool_*"))
    assert PseudoLabelArtefact(tmp_path / "r").read_manifest() is None


def test_labelling_is_deterministic_and_changes_nothing(dataset, tmp_path):
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
    label(build(), dataset, tmp_path / "r")
    assert not stale.exists()


def test_padding_of_the_preprocessor_is_cut_off(dataset, tmp_path):
    """Padded inputs must not squeeze the labels into a corner."""
    model = build(test_cfg=dict(size_divisor=64))
    artefact, _ = label(model, dataset, tmp_path / "r", flip=False, spool_stride=1, portion=1.0)
    name = dataset.get_data_info(0)["sample_id"]
    inputs = model.data_preprocessor(dict(inputs=[dataset[0]["inputs"]],
                                          data_samples=[dataset[0]["data_samples"]]))  # fmt: skip
    assert inputs["inputs"].shape[2:] == (64, 64)
    with torch.no_grad():
        logits = model.eval().encode_decode(
            inputs["inputs"], [dict(ori_shape=(64, 64), img_shape=(64, 64))]
        )
    predicted = logits[0, :, :HEIGHT, :WIDTH].argmax(0).numpy()
    found = read(artefact, "labels", name)
    kept = found != 255
    assert kept.any()
    assert (found[kept] == predicted[kept]).mean() > 0.9


def test_views_of_other_scales(dataset):
    model = build().eval()
    inputs = torch.randn(1, 3, HEIGHT, WIDTH)
    labeller = PseudoLabeller(portion=0.5, flip=False, scales=(1.0, 2.0))
    found = labeller.probabilities(model, inputs)
    views = []
    with torch.no_grad():
        for size in ((HEIGHT, WIDTH), (2 * HEIGHT, 2 * WIDTH)):
            view = F.interpolate(inputs, size=size, mode="bilinear")
            logits = F.interpolate(model.decode_head(model.backbone(view)), size, mode="bilinear")
            views.append(F.interpolate(logits, (HEIGHT, WIDTH), mode="bilinear").softmax(1))
    torch.testing.assert_close(found, (views[0] + views[1]) / 2, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.sum(1), torch.ones(1, HEIGHT, WIDTH))


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
    [dict(portion=0), dict(portion=0.5, spool_stride=0), dict(portion=0.5, scales=()),
     dict(portion=0.5, scales=(0.0,))],
)  # fmt: skip
def test_labeller_refuses(options):
    with pytest.raises(ValueError, match="found"):
        PseudoLabeller(**options)


def test_manifest_is_plain(dataset, tmp_path):
    _, manifest = label(build(), dataset, tmp_path / "r")
    assert all(isinstance(value, float) for value in manifest.thresholds.values())
    assert dataclasses.replace(manifest, round=2) != manifest
