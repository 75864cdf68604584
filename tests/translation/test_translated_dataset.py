from itertools import islice

import cv2
import numpy as np
import pytest
from mmengine.dataset import pseudo_collate
from street_names import NAMES
from torch.utils.data import DataLoader

from mmdrsl.datasets.samplers.two_domain_sampler import TwoDomainSampler
from mmdrsl.datasets.two_domain import DomainSample, TwoDomainDataset
from mmdrsl.translation.export import translate_images
from mmdrsl.translation.translated_dataset import ProbabilityRamp, TranslatedDataset
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


RAMP = dict(start=0.2, end=0.9, begin=3, finish=10, batch_size=4)


def test_ramp_equals_a_plain_interpolation():
    ramp = ProbabilityRamp(**RAMP)
    positions = np.arange(60)
    expected = np.interp(positions // 4, [3, 10], [0.2, 0.9])
    assert np.allclose([ramp.at(int(position)) for position in positions], expected)
    assert [ProbabilityRamp(finish=0, batch_size=1).at(p) for p in (0, 5)] == [1.0, 1.0]
    step = ProbabilityRamp(begin=2, finish=2, batch_size=1)
    assert [step.at(p) for p in (0, 1, 2, 3)] == [0.0, 0.0, 1.0, 1.0]
    for wrong in (dict(start=-0.1), dict(end=1.1), dict(begin=11), dict(batch_size=0)):
        with pytest.raises(ValueError, match="ramp of the probability"):
            ProbabilityRamp(**{**RAMP, **wrong})


@pytest.mark.parametrize("workers", [0, 2])
def test_ramped_mixture_follows_the_position_and_resumes(translated, workers):
    root, source, target = translated
    pipeline = [dict(type="LoadImage"), dict(type="LoadPseudoLabels"), dict(type="PackSegInputs")]
    ramp = dict(start=0.0, end=1.0, begin=10, finish=60, batch_size=4)
    wrapped = dict(
        type="TranslatedDataset",
        dataset=source,
        translations=str(root / "out"),
        probability=ramp,
    )
    dataset = TwoDomainDataset(source=wrapped, target=dict(target, pipeline=pipeline))
    originals = {
        info["img_path"]: cv2.imread(info["img_path"])
        for info in (dataset.domains["source"].get_data_info(index) for index in range(5))
    }

    def stream(first, count):
        """Whether each source image is a translation, by its position; from a position on."""
        sampler = TwoDomainSampler(dataset, seed=5)
        sampler.begin_phase(phase=1, first_position=0, target_share=0.5)
        sampler.skip(first)
        loader = DataLoader(
            dataset,
            batch_size=4,
            sampler=sampler,
            num_workers=workers,
            collate_fn=pseudo_collate,
            multiprocessing_context="fork" if workers else None,
        )
        found = {}
        for number, batch in enumerate(islice(loader, count // 4)):
            for place, (image, sample) in enumerate(
                zip(batch["inputs"], batch["data_samples"], strict=True)
            ):
                if sample.domain == "source":
                    picture = image.permute(1, 2, 0).numpy()
                    found[first + 4 * number + place] = not any(
                        np.array_equal(picture, original) for original in originals.values()
                    )
        return found

    whole = stream(0, 320)
    assert len(whole) == 160
    assert not any(whole[position] for position in whole if position < 40)
    assert all(whole[position] for position in whole if position >= 240)
    between = [whole[position] for position in whole if 40 <= position < 240]
    assert 30 <= sum(between) <= 70
    assert sum(between[:50]) < sum(between[50:])
    # Interrupted and resumed, and once more.
    assert stream(0, 120) | stream(120, 200) == whole


def test_draws_from_elsewhere_have_the_last_probability(translated):
    root, source, _ = translated
    ramp = dict(end=0.0, start=1.0, finish=10, batch_size=1)
    dataset = TranslatedDataset(dataset=source, translations=str(root / "out"), probability=ramp)
    original = cv2.imread(dataset.get_data_info(2)["img_path"])
    assert np.array_equal(image_of(dataset[2]), original)
    assert not np.array_equal(
        image_of(
            TwoDomainDataset(
                source=dict(
                    type="TranslatedDataset",
                    dataset=source,
                    translations=str(root / "out"),
                    probability=ramp,
                )
            )[DomainSample("source", 2, 0, position=0)]
        ),
        original,
    )


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
