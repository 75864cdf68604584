from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from network_files import vary
from tiny_network import PIPELINE, SPACE, training_config

from mmdrsl.inference import Network, Predictor
from mmdrsl.pseudo_labels.views import Views


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    model = MODELS.build(Config(training_config()).model)
    vary(model.segmentor, seed=3)
    return Network(model=model.eval(), classes=SPACE["classes"], palette=SPACE["palette"])


@pytest.fixture
def images():
    generator = np.random.default_rng(0)
    # A dimmer image of another size among three.
    sizes = [(40, 56), (40, 56), (48, 64), (40, 56)]
    small = [generator.integers(0, 256, (h // 8, w // 8, 3), dtype=np.uint8) for h, w in sizes]
    return [
        cv2.resize(image, size[::-1], interpolation=cv2.INTER_NEAREST)
        for image, size in zip(small, sizes, strict=True)
    ]


def predictions(network, images, *, config=None, batch_size=1, **options):
    predictor = Predictor(cfg=Config(config or training_config()), network=network, **options)
    loaded = (predictor.load(number, image) for number, image in enumerate(images))
    return list(predictor.predict(loaded, batch_size=batch_size, confidence=True))


def probabilities(network, image):
    """By the network alone, shape (C, H, W)."""
    inputs = (torch.from_numpy(image).permute(2, 0, 1).float()[None] - 100) / 50
    with torch.no_grad():
        return network.model.encode_decode(inputs, [dict(img_shape=image.shape[:2])])[0].softmax(0)


def test_labels_and_confidence(network, images):
    found = predictions(network, images)
    assert [prediction.key for prediction in found] == [0, 1, 2, 3]
    for prediction, image in zip(found, images, strict=True):
        expected = probabilities(network, image)
        np.testing.assert_array_equal(prediction.labels, expected.argmax(0).numpy())
        confidence = 255 * expected.amax(0).numpy()
        assert np.abs(prediction.confidence - confidence).max() <= 0.51
        np.testing.assert_array_equal(prediction.image, image)
    assert len(np.unique(found[0].labels)) > 1


def test_neighbors_of_equal_size_make_a_batch(network, images, monkeypatch):
    sizes = []
    step = network.model.test_step

    def counted(data):
        sizes.append(len(data["inputs"]))
        return step(data)

    one = predictions(network, images)
    monkeypatch.setattr(network.model, "test_step", counted)
    found = predictions(network, images, batch_size=2)
    assert sizes == [2, 1, 1]
    for prediction, expected in zip(found, one, strict=True):
        assert (prediction.labels == expected.labels).mean() > 0.999


def test_scales_are_those_of_a_labeling(network, images):
    views = Views(flip=True, scales=(0.75, 1.5), stride=1)
    (prediction,) = predictions(network, images[:1], views=views)
    inputs = (torch.from_numpy(images[0]).permute(2, 0, 1).float()[None] - 100) / 50
    expected = views.predict(network.segmentor, inputs)
    np.testing.assert_array_equal(prediction.labels, expected.argmax(0).numpy())
    assert (prediction.labels != predictions(network, images[:1])[0].labels).any()


def test_views_of_the_config_are_averaged(network, images):
    flips = [dict(type="RandomFlip", prob=float(prob)) for prob in (0, 1)]
    views = dict(type="TestTimeAug", transforms=[flips, [PIPELINE[1]], [PIPELINE[2]]])
    config = dict(training_config(), tta_pipeline=[PIPELINE[0], views])
    found = predictions(network, images[:2], config=config, tta=True, batch_size=2)
    for prediction, image in zip(found, images[:2], strict=True):
        mirrored = probabilities(network, np.ascontiguousarray(image[:, ::-1])).flip(2)
        expected = (probabilities(network, image) + mirrored) / 2
        assert (prediction.labels == expected.argmax(0).numpy()).mean() > 0.999
        assert np.abs(prediction.confidence - 255 * expected.amax(0).numpy()).max() <= 1


def test_one_kind_of_augmentation(network):
    with pytest.raises(ValueError, match="expected one of them"):
        predictions(network, [], tta=True, views=Views())


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        ([], "has no test_dataloader.dataset.pipeline or test_pipeline"),
        (PIPELINE[1:], "begins with LoadLabels"),
    ],
)
def test_a_pipeline_that_loads_no_image_is_refused(pipeline, message):
    config = Config(dict(training_config(), test_pipeline=pipeline))
    with pytest.raises(ValueError, match=message):
        Predictor(cfg=config, network=SimpleNamespace())


def loaded_from(path, loader):
    config = Config(dict(training_config(), test_pipeline=[loader, *PIPELINE[1:]]))
    return Predictor(cfg=config, network=SimpleNamespace()).load("key", path).image


STOCK = dict(type="LoadImageFromFile")


@pytest.mark.parametrize("loader", [STOCK, dict(STOCK, backend_args=None)])
def test_the_loader_of_exported_configs_refuses_what_is_no_photograph(images, tmp_path, loader):
    photo, depth, transparent = (tmp_path / f"{name}.png" for name in ("photo", "depth", "clear"))
    cv2.imwrite(str(photo), images[0])
    cv2.imwrite(str(depth), images[0][..., 0].astype(np.uint16))
    cv2.imwrite(str(transparent), cv2.cvtColor(images[0], cv2.COLOR_BGR2BGRA) // 2)
    np.testing.assert_array_equal(loaded_from(photo, loader), images[0])
    with pytest.raises(ValueError, match=r"depth.png is .* a mask or a depth map"):
        loaded_from(depth, loader)
    with pytest.raises(ValueError, match=r"clear.png has .* transparent pixels"):
        loaded_from(transparent, loader)


def test_what_leaves_an_image_out_is_said_to_be_of_a_data_set(tmp_path):
    (tmp_path / "a.png").write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"restore it, or leave it out \(ann_file of a data set\)"):
        loaded_from(tmp_path / "a.png", PIPELINE[0])


@pytest.mark.parametrize("loader", [STOCK, dict(STOCK, to_float32=True)])
@pytest.mark.parametrize("content", [b"", b"damaged"], ids=["empty", "damaged"])
def test_an_image_that_cannot_be_read_is_named(tmp_path, loader, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.png"):
        loaded_from(tmp_path / "a.png", loader)
