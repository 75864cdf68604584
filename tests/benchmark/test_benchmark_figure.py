import json
from xml.etree import ElementTree

import pytest

from mmdrsl.benchmark.figure import control_scores, figure
from mmdrsl.visualization.colors import method_colors

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


def dots(text, method):
    """Where a method's runs are drawn, in the order of the file; the stroke at their mean is opaque."""
    style = f"fill: {method_colors([method])[method]}; fill-opacity: 0.5"
    drawn = ElementTree.fromstring(text).findall(".//{*}use")
    return [float(mark.get("x")) for mark in drawn if mark.get("style", "").startswith(style)]


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


def test_control_of_another_file_is_drawn_without_tricks(tmp_path):
    path = tmp_path / "normalization.json"
    seeds = {"0": {"mean_of_sequences": 34.0}, "1": {"mean_of_sequences": 32.0}}
    path.write_text(json.dumps({"rows": {"target images without any loss": {"frozen": seeds}}}))
    assert control_scores(path) == [34.0, 32.0]
    with_control = figure([*rows(), *rows(tricks=["mean_teacher"])], control=[34.0, 32.0])
    found = words(with_control)
    assert found.count("Target unused, frozen statistics") == 1
    assert dots(figure([*rows(), *rows(tricks=["mean_teacher"])]), "target_unused") == []
    # One panel has them, on the scale of the others' dots: the oracle has 36, 37, 38 in two panels.
    first, second = dots(with_control, "target_unused")
    oracle = dots(with_control, "oracle")
    assert len(oracle) == 6
    assert (first - second) / 2 == pytest.approx(oracle[1] - oracle[0], rel=1e-3)
    assert oracle[0] - first == pytest.approx(first - second, rel=1e-3)
    path.write_text("{}")
    with pytest.raises(ValueError, match="has no row of target images"):
        control_scores(path)


def test_evaluation_sets_are_named_where_there_are_several():
    night = rows(evaluation={"set": "night/test", "hash": "night"})
    found = words(figure([*rows(), *night]))
    assert {"on camvid/val (h)", "on night/test (nigh)"} <= set(found)
    with pytest.raises(ValueError, match="the control is of one evaluation set"):
        figure([*rows(), *night], control=[34.0])


def test_translated_sets_of_one_method_are_apart():
    sets = ("generator 0a", "generator 0b")
    cycada = [row("cycada", 0, translations=name, mean_of_sequences=30.0) for name in sets]
    found = words(figure([*rows(translations=None), *cycada]))
    assert {"cycada (generator 0a)", "cycada (generator 0b)"} <= set(found)
    # One set needs no name.
    assert "cycada" in words(figure([*rows(translations=None), cycada[0]]))
