import json

import numpy as np
import pytest

from mmdrsl.benchmark.aggregate import paired_differences, spread
from mmdrsl.benchmark.figure import figure
from mmdrsl.benchmark.methods import titles_of
from mmdrsl.benchmark.report import difference_table, fill_page, main_table, report
from mmdrsl.benchmark.results import (
    FORMAT,
    merge_rows,
    read_results,
    results_text,
    scores_of,
    with_gaps,
)
from mmdrsl.benchmark.training_run import ROOT

CLASSES = ["sky", "road", "pole"]
PROTOCOL = {
    "steps": 9,
    "warmup_steps": 3,
    "images_per_step": 2,
    "crop": [[8, 8]],
    "initial_weights": "scratch",
    "bn_mode": "frozen",
    "labels": "none",
    "network": "student",
    "optimizer": "AdamW",
}
TITLES = {
    "source_only": "Source only",
    "oracle": "Oracle",
    "drsl": "DRSL",
    "mrkld": "MRKLD",
    "cycada_pixel": "CyCADA, pixels",
}


def row(
    method,
    seed,
    iou,
    *,
    sequences=None,
    model="deeplabv3plus_mobilenetv2",
    tricks=(),
    translations=None,
):
    sequences = sequences or {"a": iou[0], "b": iou[1]}
    return {
        "method": method,
        "title": TITLES.get(method, method),
        "model": model,
        "seed": seed,
        "tricks": list(tricks),
        "translations": translations,
        "evaluation": {"set": "camvid/val", "hash": "h"},
        "mIoU": float(np.mean(iou)),
        "aAcc": 50.0 + seed,
        "IoU": dict(zip(CLASSES, iou, strict=True)),
        "sequences": sequences,
        "mean_of_sequences": float(np.mean(list(sequences.values()))),
        "minutes": 2.0,
        "warmup_minutes": 1.0,
        "peak_memory_mb": 100,
        "shared_warmup": True,
        "protocol": PROTOCOL,
        "config_hash": method,
    }


@pytest.fixture
def rows():
    generator = np.random.default_rng(0)
    return [
        row(method, seed, generator.uniform(5, 95, 3).round(2).tolist())
        for method in ("source_only", "oracle", "drsl", "mrkld")
        for seed in (0, 1, 2)
    ]


def test_scores_by_hand():
    found = scores_of(
        {
            "mIoU": 30.0,
            "aAcc": 80.0,
            "mAcc": 1.0,
            "IoU.sky": 60.0,
            "IoU.pole": float("nan"),
            "0016E5.mIoU": 20.0,
            "0016E5.aAcc": 70.0,
            "0006R0.mIoU": 25.0,
        }
    )
    assert found == {
        "mIoU": 30.0,
        "aAcc": 80.0,
        "IoU": {"sky": 60.0},
        "sequences": {"0016E5": 20.0, "0006R0": 25.0},
        "mean_of_sequences": 22.5,
    }


def test_gap_by_hand():
    # Source 20, oracle 60, method 30: a quarter. Pole is 0 in source-only training and left out of the last gap:
    # (30 + 30) / 2, (60 + 50) / 2 and (40 + 35) / 2 give 7.5 of 25.
    rows = with_gaps(
        [
            row("source_only", 0, [30.0, 30.0, 0.0]),
            row("oracle", 0, [60.0, 50.0, 70.0]),
            row("drsl", 0, [40.0, 35.0, 15.0]),
            row("drsl", 1, [40.0, 35.0, 15.0]),
        ]
    )
    found = {(entry["method"], entry["seed"]): entry for entry in rows}
    assert found["drsl", 0]["gap_recovered"] == 25
    assert found["drsl", 0]["gap_recovered_headline"] == 30
    assert found["drsl", 0]["gap_recovered_known_classes"] == 30
    assert found["oracle", 0]["gap_recovered"] == 100
    assert found["source_only", 0]["gap_recovered"] == 0
    # No source-only row of seed 1.
    assert found["drsl", 1]["gap_recovered"] is None


def test_the_oracle_stands_beside_every_translated_set():
    trick = dict(tricks=["translated_source"])
    rows = merge_rows(
        [
            [
                row("source_only", 0, [10.0, 20.0, 30.0], translations="lab 12", **trick),
                row("drsl", 0, [20.0, 30.0, 40.0], translations="lab 12", **trick),
                row("source_only", 0, [20.0, 30.0, 40.0], translations="fourier 7", **trick),
                row("oracle", 0, [50.0, 60.0, 70.0], **trick),
            ]
        ]
    )
    gaps = {(entry["method"], entry["translations"]): entry["gap_recovered"] for entry in rows}
    assert gaps["drsl", "lab 12"] == 25
    assert gaps["oracle", None] == 100
    sections = report(rows).split("## ")[1:]
    assert len(sections) == 2
    for section in sections:
        assert "| Oracle | 1 | 55.0 |" in section
        assert "| Source only (" in section
    # Without any translated set it is a table of its own.
    assert "| Oracle | 1 |" in report(merge_rows([[row("oracle", 0, [5.0, 6.0, 7.0], **trick)]]))


def test_rows_of_other_recipes_or_data_are_no_seeds_of_one_method():
    same = dict(recipe_hash="a", data_hash="d")
    first = {**row("drsl", 0, [1.0, 2.0, 3.0]), **same}
    second = {**row("drsl", 1, [1.0, 2.0, 3.0]), **same}
    other = {**row("mrkld", 1, [1.0, 2.0, 3.0]), **same, "recipe_hash": "b"}
    old = row("drsl", 2, [1.0, 2.0, 3.0])
    assert len(merge_rows([[first, old], [second, other]])) == 4
    with pytest.raises(
        ValueError, match=r"drsl, seed 0 and drsl, seed 1 .* other options, weights"
    ):
        merge_rows([[first], [{**second, "recipe_hash": "b"}]])
    with pytest.raises(
        ValueError, match=r"drsl, seed 0 and mrkld, seed 1 .* other lists or classes"
    ):
        merge_rows([[first], [{**other, "data_hash": "e"}]])
    # Another choice of tricks is another comparison.
    other = {**second, "tricks": ["mean_teacher"], "recipe_hash": "b"}
    assert len(merge_rows([[first], [other]])) == 2


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("version", r"other versions of mmdrsl \(a and b\)"),
        ("options", "other --cfg-options"),
        ("weights", "other files of initial weights"),
    ],
)
def test_rows_of_one_table_share_options_weights_and_version(name, said):
    shared = {"version": "a", "options": "a", "weights": "a"}
    first = {**row("source_only", 0, [1.0, 2.0, 3.0]), "shared": shared}
    other = {**row("drsl", 0, [1.0, 2.0, 3.0]), "shared": {**shared, name: "b"}}
    with pytest.raises(ValueError, match=f"source_only, seed 0 and drsl, seed 0 .* {said}: choose"):
        merge_rows([[first], [other]])
    # Another network is another table.
    assert len(merge_rows([[first], [{**other, "model": "fcn_r50"}]])) == 2


def test_rows_without_the_entry_have_their_version_in_the_environment():
    old = {**row("source_only", 0, [1.0, 2.0, 3.0]), "environment": "mmdrsl 0.1.0, Python 3.11.0"}
    shared = {"version": "0.1.0", "options": "a", "weights": "a"}
    first = {**row("drsl", 0, [1.0, 2.0, 3.0]), "shared": shared}
    assert len(merge_rows([[old], [first], [row("mrkld", 0, [1.0, 2.0, 3.0])]])) == 3
    other = {**first, "shared": {**shared, "version": "0.2.0"}}
    with pytest.raises(ValueError, match=r"versions of mmdrsl \(0\.1\.0 and 0\.2\.0\): choose"):
        merge_rows([[old], [other]])


def test_gap_is_none_where_its_ends_coincide():
    rows = with_gaps([row(method, 0, [1.0, 2.0, 3.0]) for method in ("source_only", "oracle")])
    assert [entry["gap_recovered"] for entry in rows] == [None, None]


def test_gaps_do_not_mix_models(rows):
    other = row("drsl", 0, [1.0, 2.0, 3.0], model="fcn_r50")
    found = [entry for entry in with_gaps([*rows, other]) if entry["model"] == "fcn_r50"]
    assert found[0]["gap_recovered"] is None


def test_mean_and_deviation_equal_numpy(rows):
    own = [entry for entry in rows if entry["method"] == "drsl"]
    for name in CLASSES:
        values = np.array([entry["IoU"][name] for entry in own])
        found = spread(own, lambda entry, name=name: entry["IoU"].get(name))
        assert found.mean == pytest.approx(values.mean())
        assert found.deviation == pytest.approx(np.sqrt(((values - values.mean()) ** 2).sum() / 2))
    assert spread(own[:1], lambda entry: entry["mIoU"]).deviation is None
    assert spread(own, lambda entry: None) is None


def test_paired_differences_take_common_seeds(rows):
    first = [entry for entry in rows if entry["method"] == "mrkld"]
    second = [entry for entry in rows if entry["method"] == "drsl"][:2]
    found = paired_differences(first, second, lambda entry: entry["mean_of_sequences"])
    naive = {
        a["seed"]: a["mean_of_sequences"] - b["mean_of_sequences"]
        for a, b in zip(first, second, strict=False)
    }
    assert found.values == pytest.approx(naive)
    assert paired_differences(first, [], lambda entry: 0.0) is None


def cells(lines, title):
    line = next(line for line in lines if line.startswith(f"| {title} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_main_table_equals_numpy(rows):
    lines = main_table(with_gaps(rows))
    header = [cell.strip() for cell in lines[0].strip("|").split("|")]
    found = dict(zip(header, cells(lines, "DRSL"), strict=True))
    own = [entry for entry in rows if entry["method"] == "drsl"]
    source = [entry for entry in rows if entry["method"] == "source_only"]
    oracle = [entry for entry in rows if entry["method"] == "oracle"]

    def text(values):
        return f"{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}"

    assert found["seeds"] == "3"
    assert found["a"] == text([entry["sequences"]["a"] for entry in own])
    assert found["mIoU"] == text([entry["mIoU"] for entry in own])
    gaps = [
        100 * (m["mIoU"] - s["mIoU"]) / (o["mIoU"] - s["mIoU"])
        for m, s, o in zip(own, source, oracle, strict=True)
    ]
    assert found["gap, %"] == text(np.round(gaps, 2))
    titles = [line.split("|")[1].strip() for line in lines[2:]]
    assert titles == ["Source only", "Oracle", "DRSL", "MRKLD"]


def test_a_mean_over_some_of_the_seeds_says_so(rows):
    kept = [entry for entry in rows if entry["method"] != "oracle" or entry["seed"] == 0]
    lines = main_table(with_gaps(kept))
    header = [cell.strip() for cell in lines[0].strip("|").split("|")]
    found = dict(zip(header, cells(lines, "DRSL"), strict=True))
    gap = next(entry for entry in with_gaps(rows) if entry["method"] == "drsl")["gap_recovered"]
    assert found["gap, %"] == f"{gap:.1f} (1 of 3 seeds)"
    assert "seeds)" not in found["mIoU"]
    assert "seeds)" not in "".join(main_table(with_gaps(rows)))


def test_methods_of_one_title_are_lines_of_their_own(rows):
    # A user's own config, based on that of DRSL.
    own = [{**entry, "method": "mine"} for entry in rows if entry["method"] == "drsl"]
    text = report(with_gaps([*rows, *own]))
    for name in ("drsl", "mine"):
        assert cells(text.splitlines(), f"DRSL ({name})")[1] == "3"
    assert "| DRSL |" not in text
    assert "Difference to DRSL (drsl), seed by seed:" in text


def test_difference_table_leaves_the_reference_out(rows):
    lines = difference_table(rows)
    by_seed = {(entry["method"], entry["seed"]): entry["mean_of_sequences"] for entry in rows}
    expected = [f"{by_seed['mrkld', seed] - by_seed['drsl', seed]:+.1f}" for seed in (0, 1, 2)]
    assert cells(lines, "MRKLD")[2:5] == expected
    own, reference = (
        np.array([entry["mIoU"] for entry in rows if entry["method"] == method])
        for method in ("mrkld", "drsl")
    )
    differences = own - reference
    assert cells(lines, "MRKLD")[5] == f"{differences.mean():.1f} ± {differences.std(ddof=1):.1f}"
    assert not any(line.startswith("| DRSL |") for line in lines)


def test_results_survive_the_file_and_add_up(rows, tmp_path):
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    first.write_text(results_text(with_gaps(rows[:6])))
    second.write_text(results_text(with_gaps(rows[6:])))
    merged = merge_rows([read_results(first), read_results(second), read_results(first)])
    assert merged == with_gaps(rows)
    # DRSL alone had no gap; together with the other file it has one.
    assert all(entry["gap_recovered"] is None for entry in read_results(second))
    assert all(entry["gap_recovered"] is not None for entry in merged)


def test_published_results_are_read(tmp_path):
    path = ROOT / "docs/results/benchmark.json"
    published = read_results(path)
    merged = merge_rows([published])
    # The file has the gaps of its own rows, once each.
    assert sorted(map(str, published)) == sorted(map(str, merged)) != []
    assert all(row["title"] for row in merged)
    text = report(merged)
    assert all(f"| {title}" in text for title in titles_of(merged).values())
    page = tmp_path / "page.md"
    page.write_text("<!-- benchmark:plain -->\n<!-- /benchmark:plain -->\n")
    assert "Nothing measured" not in fill_page(page, merged)
    assert "<svg" in figure(merged)


def test_conflicting_results_are_refused(rows):
    for name in ("IoU", "aAcc", "mIoU"):
        changed = json.loads(json.dumps(rows[0]))
        changed[name] = {**changed[name], "sky": 1.0} if name == "IoU" else changed[name] + 1
        with pytest.raises(
            ValueError, match=rf"two results of source_only, .*, seed 0 differ in \['{name}'\]"
        ):
            merge_rows([rows, [changed]])


def test_unlike_runs_are_not_merged(rows):
    other = row("dacs", 0, [1.0, 2.0, 3.0])
    other["protocol"] = {**PROTOCOL, "initial_weights": "resnet.pth"}
    with pytest.raises(ValueError, match="the methods differ in initial_weights"):
        merge_rows([rows, [other]])


def test_translators_are_told_apart(rows):
    sets = [
        row("cycada_pixel", 0, [value, 2.0, 3.0], translations=name)
        for name, value in (("lab 12", 1.0), ("generator 34", 5.0))
    ]
    merged = merge_rows([rows, sets])
    lines = main_table(merged)
    assert cells(lines, "CyCADA, pixels (lab 12)")[1] == "1"
    assert cells(lines, "CyCADA, pixels (generator 34)")[1] == "1"
    # Compared with what was trained on the originals.
    assert all(r["gap_recovered"] is not None for r in merged if r["method"] == "cycada_pixel")


def test_another_file_is_refused(tmp_path):
    path = tmp_path / "other.json"
    path.write_text('{"seed": 0}')
    with pytest.raises(ValueError, match=f"no results of format {FORMAT}"):
        read_results(path)
    path.write_text(json.dumps({"format": FORMAT, "runs": [{"method": "drsl"}]}))
    with pytest.raises(ValueError, match=f"no results of format {FORMAT}"):
        read_results(path)
    incomplete = {k: v for k, v in row("drsl", 0, [1.0, 2.0, 3.0]).items() if k != "config_hash"}
    path.write_text(json.dumps({"format": FORMAT, "runs": [incomplete]}))
    with pytest.raises(ValueError, match="a row without config_hash"):
        read_results(path)
    with pytest.raises(FileNotFoundError, match="There are no results"):
        read_results(tmp_path / "missing.json")


def test_report_has_a_section_per_comparison(rows):
    more = [
        row("drsl", 0, [1.0, 2.0, 3.0], model="fcn_r50"),
        row("drsl", 0, [1, 2, 3], tricks=["mean_teacher"]),
    ]
    text = report(with_gaps([*rows, *more]))
    assert text.count("## ") == 3
    assert "## fcn_r50 on camvid/val, tricks: none" in text
    assert "## deeplabv3plus_mobilenetv2 on camvid/val, tricks: mean_teacher" in text


def test_evaluation_sets_are_apart(rows, tmp_path):
    night = [{**entry, "evaluation": {"set": "night/val", "hash": "n"}} for entry in rows[:6]]
    changed = [{**entry, "evaluation": {"set": "camvid/val", "hash": "new"}} for entry in rows[:6]]
    text = report(merge_rows([[*night, *changed, *rows]]))
    for name in ("night/val", "camvid/val (h)", "camvid/val (new)"):
        assert f"on {name}, tricks: none" in text
    page = tmp_path / "page.md"
    page.write_text("<!-- benchmark:summary -->\n<!-- /benchmark:summary -->\n")
    expected = fill_page(page, with_gaps(rows))
    assert fill_page(page, merge_rows([[*night, *changed, *rows]])) == expected


def test_page_is_filled_between_its_markers(rows, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "before\n<!-- benchmark:plain -->\nold\n<!-- /benchmark:plain -->\nbetween\n"
        "<!-- benchmark:tricks -->\n<!-- /benchmark:tricks -->\nafter\n"
    )
    text = fill_page(page, with_gaps(rows))
    assert "old" not in text
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    plain, tricks = text.split("between")
    assert "On camvid/val:" in plain
    assert cells(plain.splitlines(), "DRSL")[1] == "3"
    assert "IoU per class:" in plain
    assert "Nothing measured yet." in tricks
    # Predictions under other statistics are no rows of these tables.
    share = {"set": "camvid/val, weight 0.25", "hash": "other", "target_weight": 0.25}
    more = [{**row, "evaluation": share} for row in rows]
    assert fill_page(page, with_gaps([*rows, *more])) == text
    # Statistics of the target as a trick have a place of their own.
    statistics = [{**row, "tricks": ["target_bn"]} for row in rows]
    assert fill_page(page, with_gaps([*rows, *statistics])) == text
    apart = tmp_path / "apart.md"
    apart.write_text("<!-- benchmark:statistics -->\n<!-- /benchmark:statistics -->\n")
    found = fill_page(apart, with_gaps([*rows, *statistics]))
    assert "On camvid/val, tricks: target_bn:" in found
    assert "On camvid/val:" not in found
    scales = [{**row, "tricks": ["multi_scale_labels"]} for row in rows]
    assert fill_page(page, with_gaps([*rows, *scales])) == text
    apart.write_text("<!-- benchmark:scales -->\n<!-- /benchmark:scales -->\n")
    assert "On camvid/val, tricks: multi_scale_labels:" in fill_page(
        apart, with_gaps([*rows, *scales])
    )
    apart.write_text("<!-- benchmark:statistics -->\n<!-- /benchmark:statistics -->\n")
    # Tricks that one method alone was given compares nothing.
    alone = [{**row, "tricks": ["mean_teacher"]} for row in rows if row["method"] == "drsl"]
    assert fill_page(page, with_gaps([*rows, *alone])) == text
    noise = [{**row, "tricks": ["target_augmentation", "target_bn"]} for row in rows]
    assert fill_page(apart, with_gaps([*rows, *statistics, *noise])) == found
    assert "On camvid/val, tricks: target_augmentation, target_bn:" in fill_page(
        page, with_gaps([*rows, *noise])
    )
    page.write_text(text)
    assert fill_page(page, with_gaps(rows)) == text
    page.write_text("no markers")
    with pytest.raises(ValueError, match="none of the markers"):
        fill_page(page, with_gaps(rows))
    page.write_text("<!-- benchmark:plain -->\n")
    with pytest.raises(ValueError, match="must have <!-- benchmark:plain -->"):
        fill_page(page, with_gaps(rows))


def test_summary_is_the_main_table_alone(rows, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- benchmark:summary -->\n<!-- /benchmark:summary -->\n")
    lines = fill_page(page, with_gaps(rows)).splitlines()
    assert lines[2:-2] == main_table(with_gaps(rows))


def test_results_of_another_network_alone_are_shown(rows, tmp_path):
    other = [{**entry, "model": "deeplabv3plus_small"} for entry in rows]
    few = [{**entry, "model": "fcn_r50"} for entry in rows if entry["method"] == "drsl"]
    page = tmp_path / "page.md"
    page.write_text("<!-- benchmark:summary -->\n<!-- /benchmark:summary -->\n")
    assert fill_page(page, with_gaps([*few, *other])) == fill_page(page, with_gaps(rows))
