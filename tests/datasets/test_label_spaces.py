import numpy as np
import pytest
from mmseg.datasets import CityscapesDataset

from mmdrsl.datasets.camvid import CamVidDataset
from mmdrsl.datasets.carla import CARLADataset
from mmdrsl.datasets.cityscapes import CityscapesLabelIdsDataset, CityscapesTrainIdsDataset
from mmdrsl.datasets.gta5 import GTA5Dataset
from mmdrsl.datasets.kitti import KITTIDataset
from mmdrsl.datasets.label_spaces import (
    LABEL_SPACES,
    LabelSpace,
    LabelTable,
    build_lookup,
    class_mapping,
    get_label_space,
)
from mmdrsl.datasets.synthia import SYNTHIADataset


def lookup_of(dataset_type, space_name):
    space = LABEL_SPACES[space_name]
    return build_lookup(dataset_type.TABLE, space, dataset_type.RENAMES.get(space_name, {}))


def known(lookup):
    return {raw_id: int(train_id) for raw_id, train_id in enumerate(lookup) if train_id != -1}


def test_cityscapes19_is_mmsegmentations_own():
    space = LABEL_SPACES["cityscapes19"]
    assert space.classes == tuple(CityscapesDataset.METAINFO["classes"])
    assert [list(rgb) for rgb in space.palette] == CityscapesDataset.METAINFO["palette"]


def test_smaller_spaces():
    in_19 = CityscapesDataset.METAINFO["classes"]
    in_16 = [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 15, 17, 18]
    in_13 = [0, 1, 2, 6, 7, 8, 10, 11, 12, 13, 15, 17, 18]
    assert LABEL_SPACES["synthia16"].classes == tuple(in_19[i] for i in in_16)
    assert LABEL_SPACES["synthia13"].classes == tuple(in_19[i] for i in in_13)
    street10 = "sky, building, pole, road, sidewalk, vegetation, sign_or_light, fence, car, person"
    assert ", ".join(LABEL_SPACES["street10"].classes) == street10
    assert LABEL_SPACES["synthia13"].palette[-1] == (119, 11, 32)
    assert LABEL_SPACES["street10"].palette[6] == (220, 220, 0)


# The official trainId column of cityscapesScripts, typed apart from the tables.
CITYSCAPES_OFFICIAL = dict(
    zip(
        [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33],
        range(19),
        strict=True,
    )
)


@pytest.mark.parametrize(
    ("dataset_type", "extra_ids"),
    [(CityscapesLabelIdsDataset, {255}), (KITTIDataset, {255}), (GTA5Dataset, {34})],
)
def test_cityscapes_like_tables(dataset_type, extra_ids):
    expected = dict.fromkeys(set(range(34)) | extra_ids, 255) | CITYSCAPES_OFFICIAL
    assert known(lookup_of(dataset_type, "cityscapes19")) == expected


def test_train_id_table_is_identity():
    expected = {i: i for i in range(19)} | {255: 255}
    assert known(lookup_of(CityscapesTrainIdsDataset, "cityscapes19")) == expected


def test_cityscapes_in_16_and_13_classes_ignores_what_is_left_out():
    lookup16 = lookup_of(CityscapesLabelIdsDataset, "synthia16")
    found16 = [int(lookup16[raw]) for raw in (7, 12, 22, 23, 27, 28, 31, 33)]
    assert found16 == [0, 3, 255, 9, 255, 13, 255, 15]
    lookup13 = lookup_of(CityscapesLabelIdsDataset, "synthia13")
    assert [int(lookup13[raw]) for raw in (11, 12, 13, 17, 19, 33)] == [2, 255, 255, 255, 3, 12]


def test_synthia_table():
    in_train_id_order = [3, 4, 2, 21, 5, 7, 15, 9, 6, 1, 10, 17, 8, 19, 12, 11]
    expected = {raw_id: train_id for train_id, raw_id in enumerate(in_train_id_order)}
    expected |= dict.fromkeys([0, 13, 14, 16, 18, 20, 22], 255)
    assert known(lookup_of(SYNTHIADataset, "synthia16")) == expected
    in_19 = lookup_of(SYNTHIADataset, "cityscapes19")
    assert [int(in_19[raw]) for raw in (16, 18, 20, 10)] == [9, 14, 16, 11]
    assert int(lookup_of(SYNTHIADataset, "synthia13")[21]) == 255


def test_street10_of_synthetic_and_real():
    carla = lookup_of(CARLADataset, "street10")
    ignored = dict.fromkeys([0, 3, 14, 16, 19, 20, 21], 255)
    kept = {13: 0, 1: 1, 11: 1, 15: 1, 5: 2, 6: 3, 7: 3, 8: 4, 9: 5, 22: 5, 12: 6, 18: 6, 2: 7}
    assert known(carla) == ignored | kept | {17: 7, 10: 8, 4: 9}
    assert known(lookup_of(CamVidDataset, "street10")) == {i: i for i in range(10)} | {
        10: 255,
        11: 255,
    }
    gta5 = lookup_of(GTA5Dataset, "street10")
    assert [int(gta5[raw]) for raw in (23, 12, 22, 19, 28, 33, 34)] == [0, 1, 5, 6, 8, 255, 255]


@pytest.mark.parametrize("dataset_type", [GTA5Dataset, SYNTHIADataset, CityscapesTrainIdsDataset])
@pytest.mark.parametrize("space_name", LABEL_SPACES)
def test_every_class_of_a_space_is_reachable(dataset_type, space_name):
    reached = set(lookup_of(dataset_type, space_name).tolist()) - {-1, 255}
    assert reached == set(range(len(LABEL_SPACES[space_name].classes)))


def test_lookup_type_and_sentinel():
    lookup = lookup_of(GTA5Dataset, "cityscapes19")
    assert lookup.dtype == np.int16
    assert lookup.shape == (257,)
    assert lookup[-1] == -1


TABLE = LabelTable(name="toy", ids={0: "void", 3: "Road", 300: "tram"}, void=frozenset({"void"}))
SPACE = LabelSpace(name="toy2", classes=("road", "rail"), palette=((0, 0, 0), (1, 1, 1)))


def test_renames_decide_first():
    assert class_mapping(TABLE, SPACE, {"Road": "road", "tram": None}) == {
        "void": None,
        "Road": "road",
        "tram": None,
    }
    void_to_rail = class_mapping(TABLE, SPACE, {"Road": "road", "tram": None, "void": "rail"})
    assert void_to_rail["void"] == "rail"
    lookup = build_lookup(TABLE, SPACE, {"Road": "road", "tram": "rail"})
    assert known(lookup) == {0: 255, 3: 0, 300: 1}
    assert lookup[-1] == -1


def test_undecided_name_is_named():
    with pytest.raises(ValueError, match=r"toy: no class of label space 'toy2' for \['Road'\]"):
        class_mapping(TABLE, SPACE, {"tram": None})


def test_rename_from_nowhere_and_to_nowhere():
    with pytest.raises(ValueError, match=r"\['street'\], which toy does not have"):
        class_mapping(TABLE, SPACE, {"street": "road"})
    with pytest.raises(ValueError, match=r"'street'.*lead to no class of label space 'toy2'"):
        class_mapping(TABLE, SPACE, {"Road": "street", "tram": None})


def test_bad_tables_and_spaces():
    with pytest.raises(ValueError, match=r"unknown label_space 'cityscapes20'.*cityscapes19"):
        get_label_space("cityscapes20")
    with pytest.raises(ValueError, match="repeats a class"):
        LabelSpace(name="x", classes=("a", "a"), palette=((0, 0, 0), (0, 0, 0)))
    with pytest.raises(ValueError, match="2 classes but 1 colors"):
        LabelSpace(name="x", classes=("a", "b"), palette=((0, 0, 0),))
    with pytest.raises(ValueError, match=r"void names \['b'\] have no id"):
        LabelTable(name="x", ids={0: "a"}, void=frozenset({"b"}))
    with pytest.raises(ValueError, match=r"ids \[-1\] are not in"):
        LabelTable(name="x", ids={-1: "a"})
