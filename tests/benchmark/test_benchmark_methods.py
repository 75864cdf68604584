"""Which methods are compared: the config folders, and configs of a user's own."""

import pytest

from mmdrsl.benchmark.methods import (
    LOWER_BOUND,
    UPPER_BOUND,
    built_in_methods,
    choose_methods,
    read_methods,
    title_of,
    titles_of,
    trains_on_target_labels,
)
from mmdrsl.benchmark.pairs import DEFAULT_PAIR
from mmdrsl.benchmark.plan import CONFIGS


def choose(*asked):
    return choose_methods(asked, CONFIGS, DEFAULT_PAIR)


def test_methods_are_the_folders_with_a_config_of_the_pair(tmp_path):
    for name in ("drsl", "advent", "oracle", "source_only"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "deeplabv3plus_one2two.py").touch()
    (tmp_path / "advent/deeplabv3plus_one2three.py").touch()
    assert set(built_in_methods(tmp_path, "one2two")[:2]) == {LOWER_BOUND, UPPER_BOUND}
    assert built_in_methods(tmp_path, "one2two")[2:] == ["advent", "drsl"]
    assert built_in_methods(tmp_path, "one2three") == ["advent"]


def test_the_oracle_is_known_by_its_labels_whatever_its_pipeline():
    found = read_methods(choose("source_only", "oracle"))
    assert [trains_on_target_labels(cfg) for cfg in found.values()] == [False, True]
    cfg = found["oracle"]
    cfg.merge_from_dict({"train_dataloader.dataset.source.pipeline.2.scale": (384, 256)})
    assert trains_on_target_labels(cfg)
    cfg.pop("oracle_dataset")
    assert not trains_on_target_labels(cfg)


def test_methods_come_in_the_order_of_the_tables(tmp_path):
    own = tmp_path / "any.py"
    own.touch()
    chosen = choose("drsl", f"better={own}", "oracle", "advent", "source_only", "drsl")
    assert list(chosen) == ["source_only", "oracle", "advent", "better", "drsl"]
    assert chosen["better"] == own
    assert chosen["drsl"] == CONFIGS / "drsl/deeplabv3plus_carla2camvid.py"
    assert title_of({}, "better") == "better"


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        (["best"], ValueError, r"unknown method 'best': use some of \[.*'drsl'.*NAME=PATH"),
        (["mine=none.py"], FileNotFoundError, "there is no config none.py"),
        (["drsl", f"drsl={__file__}"], ValueError, "two configs of 'drsl'"),
        # Folders are named by it, and emptied.
        ([f"={__file__}"], ValueError, "'' is no name"),
        ([f"..={__file__}"], ValueError, r"'\.\.' is no name"),
        ([f"/home/mine={__file__}"], ValueError, "'/home/mine' is no name"),
    ],
)
def test_wrong_methods_are_explained(asked, error, message):
    with pytest.raises(error, match=message):
        choose(*asked)


def test_methods_of_one_title_are_told_apart():
    rows = [
        dict(method="mine", title="DRSL"),
        dict(method="drsl", title="DRSL"),
        dict(method="oracle", title="Oracle"),
        dict(method="untitled"),
    ]
    found = titles_of([*rows, *rows])
    assert found == {
        "oracle": "Oracle",
        "drsl": "DRSL (drsl)",
        "mine": "DRSL (mine)",
        "untitled": "untitled",
    }
    assert list(found) == ["oracle", "drsl", "mine", "untitled"]
