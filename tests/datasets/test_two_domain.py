import itertools
import os
import random
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from torch.utils.data import DataLoader

from mmdrsl.datasets import class_pixel_index
from mmdrsl.datasets.samplers import two_domain_sampler
from mmdrsl.datasets.samplers.rare_class_sampling import RareClassDraw
from mmdrsl.datasets.samplers.two_domain_sampler import TwoDomainSampler
from mmdrsl.datasets.two_domain import DomainSample, TwoDomainDataset, WantedClass

NUM_SOURCE, NUM_TARGET = 7, 5
AUGMENTATION = [
    dict(type="RandomResize", scale=(24, 16), ratio_range=(0.8, 2.0), keep_ratio=True),
    dict(type="RandomCrop", crop_size=(8, 8)),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackSegInputs"),
]


def sampler(seed=3, *, shuffle=True, sizes=(NUM_SOURCE, NUM_TARGET)):
    names = ("source", "target")[: len(sizes)]
    domains = {name: range(size) for name, size in zip(names, sizes, strict=True)}
    return TwoDomainSampler(SimpleNamespace(domains=domains), seed=seed, shuffle=shuffle)


def take(stream, count):
    return list(itertools.islice(iter(stream), count))


def in_phase(share, *, phase=1, first=0, **options):
    result = sampler(**options)
    result.begin_phase(phase=phase, first_position=first, target_share=share)
    result.skip(first)
    return result


@pytest.fixture
def rank(monkeypatch):
    def pretend(rank, world_size):
        monkeypatch.setattr(two_domain_sampler, "get_dist_info", lambda: (rank, world_size))

    return pretend


@pytest.mark.parametrize(
    ("share", "batch_size", "targets"),
    [(0.5, 2, 1), (0.5, 8, 4), (0.25, 4, 1), (0.75, 4, 3), (1 / 3, 3, 1), (0.0, 4, 0), (1.0, 4, 4),
     (0.1, 10, 1), (0.7, 10, 7)],
)  # fmt: skip
def test_every_batch_has_the_share(share, batch_size, targets):
    drawn = take(in_phase(share), 30 * batch_size)
    for start in range(0, len(drawn), batch_size):
        domains = [item.domain for item in drawn[start : start + batch_size]]
        assert domains.count("target") == targets


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_each_epoch_is_a_permutation(rank, world_size):
    streams = []
    for number in range(world_size):
        rank(number, world_size)
        streams.append(take(in_phase(0.4), 150))
    merged = [item for position in zip(*streams, strict=True) for item in position]
    for domain, size in (("source", NUM_SOURCE), ("target", NUM_TARGET)):
        indices = [item.image_index for item in merged if item.domain == domain]
        epochs = [indices[i : i + size] for i in range(0, len(indices) - size + 1, size)]
        assert len(epochs) > 3
        assert all(sorted(epoch) == list(range(size)) for epoch in epochs)
        assert len({tuple(epoch) for epoch in epochs}) > 1


def test_ranks_share_one_stream(rank):
    """Of each domain, two ranks together draw what one rank alone draws, seeds included."""
    rank(0, 1)
    alone = take(in_phase(0.5), 80)
    ranks = []
    for number in range(2):
        rank(number, 2)
        ranks.append(take(in_phase(0.5), 40))
    assert [item.domain for item in ranks[0]] == [item.domain for item in ranks[1]]
    for domain in ("source", "target"):
        expected = [item for item in alone if item.domain == domain]
        parts = [[item for item in part if item.domain == domain] for part in ranks]
        assert parts[0] == expected[0::2]
        assert parts[1] == expected[1::2]
        assert not {item.seed for item in parts[0]} & {item.seed for item in parts[1]}


@pytest.mark.parametrize("count", [0, 1, 6, 53])
@pytest.mark.parametrize("first", [0, 12])
def test_skip_drops_the_first(count, first):
    whole = take(in_phase(0.4, first=first), 100)
    resumed = in_phase(0.4, first=first)
    resumed.skip(first + count)
    assert take(resumed, 100 - count) == whole[count:]


def test_iterators_start_again():
    stream = in_phase(0.5)
    assert take(stream, 20) == take(stream, 20)


def test_phases_and_seeds_differ():
    base = take(in_phase(0.5), 60)
    assert take(in_phase(0.5), 60) == base
    assert take(in_phase(0.5, phase=2), 60) != base
    assert take(in_phase(0.5, seed=4), 60) != base
    assert len({item.seed for item in base}) == 60


def test_phase_begins_at_its_position():
    stream = sampler(shuffle=False)
    assert {item.domain for item in take(stream, 20)} == {"source"}
    stream.begin_phase(phase=1, first_position=20, target_share=0.5)
    stream.skip(20)
    drawn = take(stream, 8)
    assert [item.domain for item in drawn] == ["source", "target"] * 4
    assert [item.image_index for item in drawn] == [0, 0, 1, 1, 2, 2, 3, 3]


def test_sampler_errors():
    with pytest.raises(ValueError, match=r"\[0, 1\], found 1.5"):
        sampler().begin_phase(phase=1, first_position=0, target_share=1.5)
    with pytest.raises(ValueError, match="has no target; add one"):
        sampler(sizes=(7,)).begin_phase(phase=1, first_position=0, target_share=0.5)
    assert len(sampler()) == NUM_SOURCE + NUM_TARGET


@pytest.fixture
def config(tmp_path):
    generator = np.random.default_rng(0)
    for folder, count in (("source/images", NUM_SOURCE), ("target", NUM_TARGET)):
        (tmp_path / folder).mkdir(parents=True)
        for index in range(count):
            image = generator.integers(256, size=(16, 24, 3), dtype=np.uint8)
            cv2.imwrite(str(tmp_path / folder / f"{index}.png"), image)
    (tmp_path / "source/labels").mkdir()
    for index in range(NUM_SOURCE):
        label = generator.integers(10, size=(16, 24), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / f"source/labels/{index}.png"), label)
    return dict(
        source=dict(
            type="LabelledImageDataset",
            data_root=str(tmp_path / "source"),
            pipeline=[dict(type="LoadImage"), dict(type="LoadLabels"), *AUGMENTATION],
        ),
        target=dict(
            type="UnlabelledDataset",
            data_root=str(tmp_path / "target"),
            pipeline=[dict(type="LoadImage"), dict(type="LoadPseudoLabels"), *AUGMENTATION],
        ),
    )


def random_states():
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()


@pytest.mark.parametrize("domain", ["source", "target"])
def test_items_depend_only_on_the_sample(config, domain):
    dataset = TwoDomainDataset(**config)
    items = []
    for state in (0, 1):
        random.seed(state)
        np.random.seed(state)
        torch.manual_seed(state)
        before = random_states()
        items.append(dataset[DomainSample(domain, 2, 77)])
        assert random_states() == before
    assert torch.equal(items[0]["inputs"], items[1]["inputs"])
    labels = [item["data_samples"].gt_sem_seg.data for item in items]
    assert torch.equal(*labels)
    assert items[0]["data_samples"].metainfo["domain"] == domain
    different = {
        dataset[DomainSample(domain, 2, seed)]["inputs"].numpy().tobytes() for seed in range(8)
    }
    assert len(different) > 4


def test_random_state_survives_a_failing_item(config):
    dataset = TwoDomainDataset(**config)
    before = random_states()
    with pytest.raises(IndexError):
        dataset[DomainSample("source", NUM_SOURCE, 1)]
    assert random_states() == before


def test_workers_do_not_change_batches(config):
    dataset = TwoDomainDataset(**config)
    streams = []
    for num_workers in (0, 2):
        stream = TwoDomainSampler(dataset, seed=1)
        stream.begin_phase(phase=1, first_position=0, target_share=0.5)
        loader = DataLoader(
            dataset, 4, sampler=stream, num_workers=num_workers, collate_fn=pseudo_collate
        )
        streams.append(list(itertools.islice(loader, 5)))
    for alone, shared in zip(*streams, strict=True):
        assert len(alone["inputs"]) == 4
        assert all(map(torch.equal, alone["inputs"], shared["inputs"]))
        for one, other in zip(alone["data_samples"], shared["data_samples"], strict=True):
            assert torch.equal(one.gt_sem_seg.data, other.gt_sem_seg.data)
            assert one.metainfo["domain"] == other.metainfo["domain"]


def test_dataset_without_target(config):
    dataset = TwoDomainDataset(source=config["source"])
    dataset.set_pseudo_labels(None)
    assert len(dataset) == NUM_SOURCE
    assert list(dataset.domains) == ["source"]


def test_pseudo_labels_reach_the_target(config, tmp_path):
    dataset = TwoDomainDataset(**config)
    (tmp_path / "round/labels").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "round/labels/1.png"), np.full((16, 24), 4, np.uint8))

    def labels():
        sample = dataset[DomainSample("target", 1, 5)]["data_samples"]
        return sample.gt_sem_seg.data.unique().tolist()

    assert labels() == [255]
    dataset.set_pseudo_labels(str(tmp_path / "round"))
    assert labels() == [4]
    dataset.set_pseudo_labels(None)
    assert labels() == [255]


def test_classes_must_agree(config):
    config["target"]["label_space"] = "street10"
    with pytest.raises(ValueError, match="the same label_space"):
        TwoDomainDataset(**config)


@pytest.fixture
def rare_source(config, tmp_path):
    """Class 0 everywhere; class 5 in image 2 alone (8 pixels); class 7 in images 3 and 4 (40 and 1)."""
    for index in range(NUM_SOURCE):
        label = np.zeros((16, 24), np.uint8)
        label[0, 0] = 255
        if index == 2:
            label[4:6, 4:8] = 5
        if index == 3:
            label[10, :20] = 7
            label[11, :20] = 7
        if index == 4:
            label[0, 3] = 7
        cv2.imwrite(str(tmp_path / f"source/labels/{index}.png"), label)
    return config


@pytest.fixture
def kept_counts(tmp_path, monkeypatch):
    """Where counts are kept."""
    folder = tmp_path / "kept"
    folder.mkdir()
    monkeypatch.setattr(class_pixel_index.tempfile, "gettempdir", lambda: str(folder))
    return folder


def rare_sampler(dataset, share=0.0, phase=0, **options):
    options = {"min_pixels": 10, **options}
    stream = TwoDomainSampler(dataset, seed=3, rare_class_sampling=options)
    stream.begin_phase(phase=phase, first_position=0, target_share=share)
    return stream


def test_rare_classes_come_as_often_as_the_formula_says(rare_source, kept_counts):
    dataset = TwoDomainDataset(**rare_source)
    drawn = take(rare_sampler(dataset, class_temp=0.5), 6000)
    total = NUM_SOURCE * (16 * 24 - 1)
    pixels = {0: total - 8 - 41, 5: 8, 7: 41}
    weights = {name: np.exp((1 - count / total) / 0.5) for name, count in pixels.items()}
    for class_id, weight in weights.items():
        share = sum(item.wanted.class_id == class_id for item in drawn) / len(drawn)
        assert share == pytest.approx(weight / sum(weights.values()), abs=0.025)
    images = {
        class_id: {item.image_index for item in drawn if item.wanted.class_id == class_id}
        for class_id in pixels
    }
    # Image 4 has too few pixels of class 7; no image has enough of class 5, so the one that has any serves.
    assert images == {0: set(range(NUM_SOURCE)), 5: {2}, 7: {3}}
    assert {item.wanted[1:] for item in drawn} == {(5, 10)}
    other = take(rare_sampler(dataset, min_crop_ratio=0.25), 20)
    assert {item.wanted[1:] for item in other} == {(2, 10)}


def test_rare_class_stream_is_a_function_of_its_position(rare_source, kept_counts, rank):
    dataset = TwoDomainDataset(**rare_source)
    rank(0, 1)
    whole = take(rare_sampler(dataset, share=0.4, phase=1), 90)
    resumed = rare_sampler(dataset, share=0.4, phase=1)
    resumed.skip(33)
    assert take(resumed, 57) == whole[33:]
    targets = [item for item in whole if item.domain == "target"]
    assert {item.wanted for item in targets} == {None}
    assert len({item.image_index for item in targets[:NUM_TARGET]}) == NUM_TARGET
    source = [item for item in whole if item.domain == "source"]
    parts = []
    for number in range(2):
        rank(number, 2)
        drawn = take(rare_sampler(dataset, share=0.4, phase=1), 45)
        parts.append([item for item in drawn if item.domain == "source"])
    assert [item for pair in zip(*parts, strict=True) for item in pair] == source
    assert take(rare_sampler(dataset, share=0.4, phase=2), 90) != whole


def test_transforms_are_drawn_until_the_class_shows(rare_source):
    dataset = TwoDomainDataset(**rare_source)

    def pixels(sample):
        label = dataset[sample]["data_samples"].gt_sem_seg.data
        return int((label == 5).sum())

    plain = [pixels(DomainSample("source", 2, seed)) for seed in range(40)]
    wanted = [pixels(DomainSample("source", 2, seed, WantedClass(5, 4, 12))) for seed in range(40)]
    assert sum(count < 4 for count in plain) > 5
    assert sum(count < 4 for count in wanted) < sum(count < 4 for count in plain) / 3
    # A view that will do is kept, and attempts end.
    assert all(b == a for a, b in zip(plain, wanted, strict=True) if a >= 4)
    hopeless = DomainSample("source", 2, 1, WantedClass(9, 1, 3))
    assert torch.equal(dataset[hopeless]["inputs"], dataset[hopeless]["inputs"])


def test_pixel_index_is_kept_and_checked(rare_source, kept_counts, tmp_path, monkeypatch):
    dataset = TwoDomainDataset(**rare_source)
    first = take(rare_sampler(dataset), 30)
    (index,) = kept_counts.iterdir()
    counts = np.load(index)["counts"]
    assert counts.shape == (NUM_SOURCE, 19)
    assert counts[3].tolist() == [383 - 40, 0, 0, 0, 0, 0, 0, 40, *[0] * 11]

    def refuse(*args):
        raise AssertionError("counted again")

    with monkeypatch.context() as patched:
        patched.setattr(class_pixel_index, "count_label", refuse)
        assert take(rare_sampler(dataset), 30) == first
        index.write_bytes(b"damaged")
        with pytest.raises(AssertionError, match="counted again"):
            rare_sampler(dataset)
    assert take(rare_sampler(dataset), 30) == first
    label = cv2.imread(str(tmp_path / "source/labels/0.png"), -1)
    label[:, 12:] = 9
    cv2.imwrite(str(tmp_path / "source/labels/0.png"), label)
    rare_sampler(dataset)
    (newer,) = set(kept_counts.iterdir()) - {index}
    assert np.load(newer)["counts"][0, 9] == 16 * 12
    label[0, 0] = 77
    cv2.imwrite(str(tmp_path / "source/labels/0.png"), label)
    with pytest.raises(ValueError, match=r"labels/0\.png holds unknown ids \[77\]"):
        rare_sampler(dataset)


def test_pixel_index_is_ones_own(rare_source, kept_counts, monkeypatch):
    infos = TwoDomainDataset(**rare_source).domains["source"].load_data_list()
    counts = class_pixel_index.class_pixel_index(infos, 19)
    (file,) = kept_counts.iterdir()
    assert file.name.startswith(f"class_pixels_{os.getuid()}_")
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    assert np.array_equal(class_pixel_index.class_pixel_index(infos, 19), counts)
    assert len(list(kept_counts.iterdir())) == 2


def test_rare_class_errors(rare_source, kept_counts):
    dataset = TwoDomainDataset(**rare_source)
    with pytest.raises(ValueError, match="class_temp of the rare classes must be above 0"):
        rare_sampler(dataset, class_temp=0)
    with pytest.raises(ValueError, match="shuffle=True"):
        TwoDomainSampler(dataset, seed=1, shuffle=False, rare_class_sampling={})
    with pytest.raises(TypeError, match="class_tmep"):
        TwoDomainSampler(dataset, seed=1, rare_class_sampling={"class_tmep": 1})
    with pytest.raises(ValueError, match="no image has a labeled pixel"):
        RareClassDraw(np.zeros((2, 3), np.int64), class_temp=1.0, min_pixels=1)
