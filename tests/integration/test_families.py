"""MMSegmentation's families adapt, or say why not; docs/models.md is the table of them."""

import shutil

import pytest
from families import FAMILIES, HEADING, METHODS, PAGE, Outcome, outcome_of, page_with
from mmengine.logging import MMLogger
from tested_page import rows_below

KINDS = ("adapts", "needs a package", "refused")
# One of each kind: convolutions, several outputs, a cascade, other maps in training, windows of a transformer, and
# what is refused or lacks a package.
FAST = {
    ("ccnet/ccnet_r50-d8_4xb4-80k_ade20k-512x512.py", "self_training"),
    ("ddrnet/ddrnet_23_in1k-pre_2xb6-120k_cityscapes-1024x1024.py", "drsl_short"),
    ("encnet/encnet_r50-d8_4xb4-80k_ade20k-512x512.py", "self_training"),
    ("fcn/fcn_r50-d8_4xb4-80k_ade20k-512x512.py", "self_training"),
    ("maskformer/maskformer_r50-d32_8xb2-160k_ade20k-512x512.py", "self_training"),
    ("ocrnet/ocrnet_r101-d8_4xb2-40k_cityscapes-512x1024.py", "drsl_short"),
    ("segmenter/segmenter_vit-b_mask_8xb1-160k_ade20k-512x512.py", "drsl_short"),
}
ALL = [
    pytest.param(
        name,
        method,
        id=f"{name.partition('_')[0]}-{name.split('/')[1][:-3]}-{method}",
        marks=() if (name, method) in FAST else pytest.mark.slow,
    )
    for name in FAMILIES
    for method in METHODS
]


@pytest.mark.parametrize(("name", "method"), ALL)
def test_family(name, method, scenes_root, tmp_path, monkeypatch, outcomes):
    monkeypatch.setenv("MMDRSL_SCENES", str(scenes_root))
    MMLogger._instance_dict.clear()
    outcome, runner = outcome_of(tmp_path, name, method)
    if runner is not None:
        assert runner.iter == 4
        labels = tmp_path / "run" / "pseudo_labels" / "round_1" / "labels"
        assert len(list(labels.rglob("*.png"))) == 6
        logged = {key.split(".")[0] for key in runner.message_hub.log_scalars if "loss_" in key}
        terms = {f"train/{term}" for term in runner.model.terms}
        assert logged == terms
    outcomes[name, method] = outcome
    shutil.rmtree(tmp_path)
    if outcome.kind != "needs a package":
        known = {row[0]: row[1:] for row in rows_below(HEADING, PAGE)[1:]}
        assert known[name.removesuffix(".py")] == [outcome.kind, outcome.reason]


def test_every_family_is_in_the_table():
    _, *rows = rows_below(HEADING, PAGE)
    assert [row[0] for row in rows] == [name.removesuffix(".py") for name in FAMILIES]
    assert {row[1] for row in rows} == set(KINDS)
    assert all(row[2] for row in rows if row[1] != "adapts")


def test_the_page_is_written_when_all_is_there_and_both_methods_agree():
    rows = {row[0]: Outcome(*row[1:]) for row in rows_below(HEADING, PAGE)[1:]}
    found = {
        (name, method): rows[name.removesuffix(".py")] for name in FAMILIES for method in METHODS
    }
    assert page_with(found) == PAGE.read_text(encoding="utf-8")
    assert page_with(dict(list(found.items())[1:])) is None
    assert page_with({**found, (FAMILIES[0], METHODS[0]): Outcome("refused", "x")}) is None
