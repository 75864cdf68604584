import cv2
import numpy as np
import pytest
from street_names import NAMES

from mmdrsl.datasets.two_domain import DomainSample, TwoDomainDataset
from mmdrsl.translation.export import translate_images
from mmdrsl.translation.translated_dataset import TranslatedDataset
from mmdrsl.translation.translators import LabTranslator


@pytest.fixture
def translated(street):
    root, source, target = street
    translate_images(
        images={name: root / f"source/images/{name}.png" for name in NAMES},
        references={"x": root / "target/x.png"},
        translator=LabTranslator(),
        out=root / "out",
    )
    return root, source, target


def image_of(packed):
    return packed["inputs"].permute(1, 2, 0).numpy()


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_image_changes_and_label_stays(translated, probability):
    root, source, _ = translated
    dataset = TranslatedDataset(
        dataset=source, translations=str(root / "out"), probability=probability
    )
    assert len(dataset) == 5
    for index in range(5):
        info = dataset.get_data_info(index)
        name = info["sample_id"]
        folder = root / ("out/images" if probability else "source/images")
        packed = dataset[index]
        assert np.array_equal(image_of(packed), cv2.imread(str(folder / f"{name}.png")))
        label = cv2.imread(str(root / f"source/labels/{name}.png"), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(packed["data_samples"].gt_sem_seg.data[0].numpy(), label)


def test_mixture_follows_the_seed_of_the_draw(translated):
    root, source, _target = translated
    wrapped = dict(
        type="TranslatedDataset",
        dataset=source,
        translations=str(root / "out"),
        probability=0.3,
    )
    dataset = TwoDomainDataset(source=wrapped)
    originals = [
        cv2.imread(dataset.domains["source"].get_data_info(i)["img_path"]) for i in range(5)
    ]

    def draws():
        return [
            not np.array_equal(
                image_of(dataset[DomainSample("source", seed % 5, seed)]), originals[seed % 5]
            )
            for seed in range(200)
        ]

    first = draws()
    assert 40 <= sum(first) <= 80
    np.random.seed(3)
    assert draws() == first


def test_flat_folder_of_another_origin(translated):
    root, source, _ = translated
    dataset = TranslatedDataset(dataset=source, translations=str(root / "out/images"))
    assert dataset.translation_path("five") == str(root / "out/images/five.png")


def test_missing_translations_are_listed(translated):
    root, source, _ = translated
    (root / "out/images/five.png").unlink()
    (root / "out/images/a/two.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"2 of 5 images(?s:.*)a/two\nfive"):
        TranslatedDataset(dataset=source, translations=str(root / "out"))


def test_other_mistakes(translated):
    root, source, target = translated
    with pytest.raises(ValueError, match="probability"):
        TranslatedDataset(dataset=source, translations=str(root / "out"), probability=1.5)
    with pytest.raises(TypeError, match="expected a LabelledImageDataset"):
        TranslatedDataset(dataset=target, translations=str(root / "out"))
    with pytest.raises(FileNotFoundError, match="translations"):
        TranslatedDataset(dataset=source, translations=str(root / "nowhere"))
    cv2.imwrite(str(root / "out/images/five.jpg"), np.zeros((16, 24, 3), np.uint8))
    with pytest.raises(ValueError, match="same image"):
        TranslatedDataset(dataset=source, translations=str(root / "out"))
    (root / "out/images/five.jpg").unlink()
    cv2.imwrite(str(root / "out/images/five.png"), np.zeros((8, 12, 3), np.uint8))
    with pytest.raises(ValueError, match=r"12x8.*24x16"):
        TranslatedDataset(dataset=source, translations=str(root / "out"))
    TranslatedDataset(dataset=source, translations=str(root / "out"), check=False)


def test_stands_beside_another_labeled_set(translated):
    root, source, _ = translated
    wrapped = dict(type="TranslatedDataset", dataset=source, translations=str(root / "out"))
    joined = dict(type="ConcatDataset", datasets=[source, wrapped])
    dataset = TwoDomainDataset(source=joined)
    assert len(dataset) == 10
    original = image_of(dataset[DomainSample("source", 1, 0)])
    translation = image_of(dataset[DomainSample("source", 6, 0)])
    name = dataset.domains["source"].get_data_info(6)["sample_id"]
    assert np.array_equal(original, cv2.imread(str(root / f"source/images/{name}.png")))
    assert np.array_equal(translation, cv2.imread(str(root / f"out/images/{name}.png")))
