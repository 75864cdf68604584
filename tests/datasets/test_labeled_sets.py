"""Several labeled datasets as one source."""

from collections import Counter

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmseg.registry import DATASETS
from PIL import Image

from mmdrsl.datasets.inspection.config_domains import plain_datasets
from mmdrsl.datasets.inspection.domain_report import inspect_config
from mmdrsl.datasets.samplers.two_domain_sampler import TwoDomainSampler
from mmdrsl.datasets.two_domain import TwoDomainDataset

PIPELINE = [
    dict(type="LoadImage"),
    dict(type="LoadLabels"),
    dict(type="PackSegInputs", meta_keys=("img_path",)),
]


def labeled(root, count, *, color, space="street11"):
    """A folder of images in one color whose labels show one class each."""
    for kind in ("images", "labels"):
        (root / kind).mkdir(parents=True, exist_ok=True)
    for index in range(count):
        cv2.imwrite(str(root / "images" / f"{index}.png"), np.full((8, 8, 3), color, np.uint8))
        cv2.imwrite(str(root / "labels" / f"{index}.png"), np.full((8, 8), index % 3, np.uint8))
    return dict(
        type="LabelledImageDataset", data_root=str(root), label_space=space, pipeline=PIPELINE
    )


def build(*datasets, **options):
    return DATASETS.build(dict(type="LabeledSets", datasets=list(datasets), **options))


@pytest.mark.parametrize(
    ("sizes", "shares", "expected"),
    [
        # The largest size over its share gives the length of an epoch.
        ((6, 3), None, (6, 3)),
        ((6, 3), (1, 1), (6, 6)),
        ((6, 3), (0.75, 0.25), (9, 3)),
        ((5, 2, 1), (0.5, 0.3, 0.2), (5, 3, 2)),
        ((4,), (2.0,), (4,)),
    ],
)
def test_an_epoch_has_the_shares_and_every_image(tmp_path, sizes, shares, expected):
    parts = [
        labeled(tmp_path / str(number), size, color=number) for number, size in enumerate(sizes)
    ]
    dataset = build(*parts, shares=shares)
    drawn = [dataset.get_data_info(index)["img_path"] for index in range(len(dataset))]
    counts = Counter(drawn)
    for number, (size, draws) in enumerate(zip(sizes, expected, strict=True)):
        own = [counts[str(tmp_path / str(number) / "images" / f"{i}.png")] for i in range(size)]
        assert sum(own) == draws
        # No image comes twice more often than another of its set.
        assert max(own) - min(own) <= 1 <= min(own)
    assert len(drawn) == sum(expected)


def test_as_the_source_beside_a_target(tmp_path):
    first = labeled(tmp_path / "a", 6, color=10)
    few = labeled(tmp_path / "b", 2, color=200)
    target = dict(
        type="UnlabelledDataset",
        data_root=str(tmp_path / "a" / "images"),
        label_space="street11",
        pipeline=[dict(type="LoadImage"), dict(type="LoadPseudoLabels"), PIPELINE[-1]],
    )
    source = dict(type="LabeledSets", datasets=[first, few], shares=[0.5, 0.5])
    dataset = TwoDomainDataset(source=source, target=target)
    sampler = TwoDomainSampler(
        dataset, seed=0, rare_class_sampling=dict(min_pixels=1, class_temp=10)
    )
    sampler.begin_phase(phase=1, first_position=0, target_share=0.5)
    stream = iter(sampler)
    seen = Counter()
    for _ in range(80):
        sample = next(stream)
        packed = dataset[sample]
        pixels = packed["inputs"].unique().tolist()
        label = packed["data_samples"].gt_sem_seg.data.unique().tolist()
        if sample.domain == "source":
            seen[pixels[0]] += 1
            assert label == [sample.wanted.class_id]
        else:
            assert label == [255]
    assert sum(seen.values()) == 40
    assert min(seen[10], seen[200]) >= 10
    assert [part["data_root"] for part in plain_datasets(source)] == [
        first["data_root"],
        few["data_root"],
    ]


def test_examination_is_of_all_sets(tmp_path):
    """Each set has its own kind of label files; figures are means over all images."""
    sets = [
        labeled(tmp_path / "a", 3, color=(10, 10, 10)),
        labeled(tmp_path / "b", 1, color=(90, 90, 90)),
    ]
    for path in (tmp_path / "a" / "labels").iterdir():
        image = Image.open(path)
        image.load()
        image.putpalette(list(range(256)) * 3)
        image.save(path)
    source = dict(type="LabeledSets", datasets=sets)
    cfg = Config(dict(train_dataloader=dict(dataset=dict(type="TwoDomainDataset", source=source))))
    report = inspect_config(cfg, num_workers=1, progress=False)["source"]
    # Images of one color are copies of each other here.
    assert {kind for kind, _ in report.problems} == {"repeated image"}
    assert len(report.label_kinds) == 2
    assert report.mean == pytest.approx([30.0] * 3)
    assert sorted(report.histogram[report.histogram > 0]) == pytest.approx([0.25, 0.75])


def test_what_does_not_fit_is_refused(tmp_path):
    first, second = labeled(tmp_path / "a", 2, color=0), labeled(tmp_path / "b", 2, color=0)
    other = labeled(tmp_path / "b", 2, color=0, space="cityscapes19")
    with pytest.raises(ValueError, match=r"differ from those.*same label_space"):
        build(first, other)
    with pytest.raises(ValueError, match="found none"):
        build()
    for shares in ([1.0], [1.0, 0.0], [1.0, float("nan")]):
        with pytest.raises(
            ValueError,
            match=r"one number above 0 for each of the 2 datasets|nan, expected a number",
        ):
            build(first, second, shares=shares)
