from xml.etree import ElementTree

import pytest

from mmdrsl.benchmark.figure import figure

TITLES = {"source_only": "Source only", "oracle": "Oracle", "drsl": "DRSL", "mrkld": "MRKLD"}


def row(method, seed, **changes):
    return {
        "method": method,
        "title": TITLES.get(method, method),
        "model": "deeplabv3plus_mobilenetv2",
        "seed": seed,
        "tricks": [],
        "evaluation": {"set": "camvid/val", "hash": "h"},
        "mean_of_sequences": 30.0 + len(method) + seed,
        **changes,
    }


def rows(**changes):
    return [row(method, seed, **changes) for method in TITLES for seed in (0, 1, 2)]


def words(text):
    return [element.text for element in ElementTree.fromstring(text).findall(".//{*}text")]


def test_figure_has_a_panel_per_comparison():
    few = [row("drsl", 0, tricks=["mean_teacher"])]
    other = rows(model="fcn_r50")[:6]
    found = words(figure([*rows(), *rows(tricks=["multi_scale_labels"]), *few, *other]))
    panels = [word for word in found if word in ("no tricks", "multi_scale_labels", "mean_teacher")]
    assert panels == ["no tricks", "multi_scale_labels"]
    names = [word for word in found if word in TITLES.values()]
    assert names == ["Source only", "Oracle", "DRSL", "MRKLD"]
    assert "mIoU in %, mean of the sequences" in found
    with pytest.raises(ValueError, match="at least 3 methods"):
        figure(few)


def test_rows_of_another_network_change_nothing():
    assert figure([*rows(), *rows(model="fcn_r50")[:6]]) == figure(rows())


def test_control_stands_between_the_two_ends():
    control = [row("target_unused", 0, title="Control")]
    found = words(figure([*rows(), *control]))
    assert [word for word in found if word in (*TITLES.values(), "Control")][:3] == [
        "Source only",
        "Control",
        "Oracle",
    ]


def test_evaluation_sets_are_named_where_there_are_several():
    night = rows(evaluation={"set": "night/test", "hash": "night"})
    found = words(figure([*rows(), *night]))
    assert {"on camvid/val (h)", "on night/test (nigh)"} <= set(found)
