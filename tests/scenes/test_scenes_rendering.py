"""What the rendered scenes contain."""

from collections import Counter

import numpy as np
import pytest

from mmdrsl.scenes.camera import Camera
from mmdrsl.scenes.catalog import (
    CLASS_SUBTYPES,
    LABEL_IDS,
    SUBTYPES,
    label_of_subtype,
    label_palette,
    subtype_id,
)
from mmdrsl.scenes.render import render_scene
from mmdrsl.scenes.world import LOOKS, STATISTICS, draw_world

# cityscapesscripts/helpers/labels.py
CITYSCAPES_IDS = {
    7: "road",
    8: "sidewalk",
    11: "building",
    12: "wall",
    13: "fence",
    17: "pole",
    19: "traffic light",
    20: "traffic sign",
    21: "vegetation",
    22: "terrain",
    23: "sky",
    24: "person",
    25: "rider",
    26: "car",
    27: "truck",
    28: "bus",
    31: "train",
    32: "motorcycle",
    33: "bicycle",
}
SCENES_PER_LOOK = 16


@pytest.fixture(scope="module")
def scenes():
    return {
        look: [render_scene([7, index], look, (128, 64)) for index in range(SCENES_PER_LOOK)]
        for look in LOOKS
    }


@pytest.mark.parametrize("look", LOOKS)
def test_same_seed_gives_same_bytes(look):
    first, second = render_scene([3, 1], look), render_scene([3, 1], look)
    assert first.image.tobytes() == second.image.tobytes()
    assert first.label.tobytes() == second.label.tobytes()
    assert first.subtype.tobytes() == second.subtype.tobytes()


def test_seed_number_and_generator_agree():
    from_number = render_scene(5, "camera", (128, 64))
    from_generator = render_scene(np.random.default_rng(5), "camera", (128, 64))
    assert np.array_equal(from_number.image, from_generator.image)


@pytest.mark.parametrize("look", LOOKS)
def test_other_seed_gives_other_scene(look):
    first, second = render_scene([3, 1], look), render_scene([3, 2], look)
    assert (first.label != second.label).mean() > 0.05
    assert np.abs(first.image.astype(int) - second.image).mean() > 5


def test_rendering_leaves_global_randomness_alone():
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    render_scene(1, "game", (64, 32))
    assert np.array_equal(before, np.random.get_state()[1])


@pytest.mark.parametrize("size", [(256, 128), (128, 64), (200, 120), (33, 32)])
@pytest.mark.parametrize("look", LOOKS)
def test_shapes_and_types(look, size):
    scene = render_scene(0, look, size)
    assert scene.image.shape == (size[1], size[0], 3)
    assert scene.label.shape == scene.subtype.shape == (size[1], size[0])
    assert scene.image.dtype == scene.label.dtype == scene.subtype.dtype == np.uint8


def test_label_ids_are_those_of_cityscapes():
    named = {name: label for name, label in LABEL_IDS.items() if name != "unlabeled"}
    assert all(CITYSCAPES_IDS[label] == name for name, label in named.items())
    assert set(CLASS_SUBTYPES) == set(named)


@pytest.mark.parametrize("look", LOOKS)
def test_every_class_occurs_and_no_other_id(scenes, look):
    pixels = Counter()
    for scene in scenes[look]:
        ids, counts = np.unique(scene.label, return_counts=True)
        pixels.update(dict(zip(ids.tolist(), counts.tolist(), strict=True)))
    assert set(pixels) == set(LABEL_IDS.values()) - {LABEL_IDS["unlabeled"]}
    total = sum(pixels.values())
    for name in ("pole", "traffic sign", "traffic light", "rider", "bicycle", "person", "fence"):
        assert 0 < pixels[LABEL_IDS[name]] / total < 0.03, name
    for name in ("road", "building"):
        assert pixels[LABEL_IDS[name]] / total > 0.15, name


def test_subtype_belongs_to_the_pixels_class(scenes):
    names = {number: pair[0] for number, pair in enumerate(SUBTYPES, start=1)}
    for scene in scenes["game"] + scenes["camera"]:
        for code in np.unique(scene.subtype.astype(int) * 256 + scene.label).tolist():
            subtype, label = divmod(code, 256)
            assert LABEL_IDS[names[subtype]] == label


@pytest.mark.parametrize("look", LOOKS)
def test_every_subtype_occurs(scenes, look):
    found = set(np.unique(np.concatenate([scene.subtype.ravel() for scene in scenes[look]])))
    assert found == set(range(1, len(SUBTYPES) + 1))


@pytest.mark.parametrize("look", LOOKS)
def test_statistics_are_distributions_over_all_subtypes(look):
    statistics = STATISTICS[look]
    for class_name, weights in (
        ("road", statistics.roads),
        ("sidewalk", statistics.sidewalks),
        ("terrain", statistics.terrains),
        ("sky", statistics.skies),
        ("vegetation", statistics.seasons),
        ("building", statistics.materials),
        ("car", statistics.cars),
    ):
        assert set(weights) == set(CLASS_SUBTYPES[class_name])
        assert sum(weights.values()) == pytest.approx(1)
        assert min(weights.values()) >= 0.1


def test_subtypes_of_a_class_look_different(scenes):
    for class_name in ("building", "vegetation", "sky"):
        means = []
        for subtype in CLASS_SUBTYPES[class_name]:
            number = subtype_id(class_name, subtype)
            colors = [scene.image[scene.subtype == number] for scene in scenes["game"]]
            means.append(np.concatenate(colors).mean(axis=0))
        for index, mean in enumerate(means):
            others = means[:index] + means[index + 1 :]
            assert min(np.abs(mean - other).max() for other in others) > 15, class_name


def test_looks_differ_as_a_game_and_a_camera_do(scenes):
    def saturation(scene):
        image = scene.image.astype(float)
        return (image.max(axis=2) - image.min(axis=2)).mean()

    game = np.mean([saturation(scene) for scene in scenes["game"]])
    camera = np.mean([saturation(scene) for scene in scenes["camera"]])
    assert game > 1.5 * camera


def test_road_lies_below_sky(scenes):
    for scene in scenes["game"] + scenes["camera"]:
        road = np.nonzero(scene.label == LABEL_IDS["road"])[0]
        sky = np.nonzero(scene.label == LABEL_IDS["sky"])[0]
        if sky.size:
            assert sky.max() < road.max()
            assert np.median(sky) < road.min()


def test_farther_things_are_smaller_and_nearer_the_horizon():
    camera = Camera(
        width=200,
        height=100,
        focal=180.0,
        center_column=100.0,
        horizon_row=40.0,
        mounting_height=1.5,
        lateral=0.5,
        curvature=0.0,
    )
    # By hand: column 100 + 180 * (2 - 0.5) / 10, row 40 + 180 * 1.5 / 10.
    assert camera.project(np.array([[2.0, 0.0, 10.0]]))[0] == pytest.approx((127, 67))
    assert camera.project(np.array([[2.0, 1.5, 10.0]]))[0] == pytest.approx((127, 40))
    first_row, distance, offset = camera.ground()
    assert first_row == 40
    row = 67 - first_row
    expected = 180 * 1.5 / 27.5
    assert distance[row, 0] == pytest.approx(expected)
    assert offset[row, 126] == pytest.approx(0.5 + 26.5 * expected / 180)


def test_bend_shifts_ground_and_objects_alike():
    camera = Camera(
        width=200,
        height=100,
        focal=180.0,
        center_column=100.0,
        horizon_row=40.0,
        mounting_height=1.5,
        lateral=0.5,
        curvature=0.002,
    )
    first_row, distance, offset = camera.ground()
    row, column = 12, 150
    point = np.array([[offset[row, column], 0.0, distance[row, 0]]])
    assert camera.project(point)[0] == pytest.approx(
        (column + 0.5, first_row + row + 0.5), abs=0.01
    )


def test_nothing_stands_in_the_side_street():
    found = 0
    for index in range(40):
        world = draw_world(np.random.default_rng(index), "camera")
        if world.street.crossing is None:
            continue
        near, far = world.street.crossing
        for building in world.buildings:
            found += 1
            assert building.far <= near or building.near >= far
    assert found > 0


def test_palette_gives_each_class_its_own_color():
    palette = label_palette()
    colors = {tuple(palette[label].tolist()) for label in LABEL_IDS.values()}
    assert len(colors) == len(LABEL_IDS)


def test_label_lookup_of_unknown_subtype_is_unlabeled():
    lookup = label_of_subtype()
    assert lookup[0] == 0
    assert (lookup[len(SUBTYPES) + 1 :] == 0).all()


def test_errors_name_the_remedy():
    with pytest.raises(ValueError, match="take one of"):
        render_scene(0, "painting")
    with pytest.raises(ValueError, match="32"):
        render_scene(0, "game", (16, 64))
    with pytest.raises(ValueError, match="brick"):
        subtype_id("building", "straw")
