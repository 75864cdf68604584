"""What the tool does with its command line and its files, without training."""

import importlib.util
import json
import sys

import pytest

from mmdrsl.benchmark.results import FORMAT, read_results, results_text
from mmdrsl.benchmark.training_run import ROOT


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("benchmark_tool", ROOT / "tools/run_benchmark.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def row(method, **evaluation):
    return {
        "method": method,
        "title": method,
        "model": "deeplabv3plus_small",
        "seed": 0,
        "tricks": [],
        "translations": None,
        "evaluation": {"set": "camvid/val", "hash": "usual", **evaluation},
        "protocol": {
            **dict(steps=9, warmup_steps=3, images_per_step=2, crop=[[8, 8]]),
            **dict(initial_weights="scratch", bn_mode=None, labels="none"),
            **dict(network="student", optimizer="AdamW"),
        },
        "config_hash": method,
        "mIoU": 30.0,
        "aAcc": 50.0,
        "IoU": {"sky": 30.0},
        "sequences": {},
        "mean_of_sequences": 30.0,
        "minutes": 2.0,
        "warmup_minutes": 1.0,
        "peak_memory_mb": 100,
        "shared_warmup": True,
    }


def test_results_on_all_evaluation_sets_are_collected(tool, tmp_path):
    target = {"set": "camvid/val, weight 0.25", "hash": "other", "target_weight": 0.25}
    for found in (row("drsl"), row("drsl", **target), row("minent")):
        folder = tmp_path / "plain/deeplabv3plus_small/seed_0" / found["method"]
        folder.mkdir(parents=True, exist_ok=True)
        name = f"result_{FORMAT}_{found['evaluation']['hash']}.json"
        (folder / name).write_text(json.dumps(found))
    tool.collect(tmp_path)
    rows = read_results(tmp_path / "results.json")
    found = sorted((entry["method"], entry["evaluation"]["hash"]) for entry in rows)
    assert found == [("drsl", "other"), ("drsl", "usual"), ("minent", "usual")]
    text = (tmp_path / "results.md").read_text()
    assert "on camvid/val, tricks" in text
    assert "on camvid/val, weight 0.25, tricks" in text


def test_merging_keeps_other_results(tool, tmp_path):
    files = []
    for method in ("drsl", "minent", "dacs"):
        files.append(tmp_path / method / "results.json")
        files[-1].parent.mkdir()
        files[-1].write_text(results_text([row(method)]))
    with pytest.raises(ValueError, match=r"dacs holds results\.json already: choose another --out"):
        tool.merge(files[:2], tmp_path / "dacs")
    assert [entry["method"] for entry in read_results(files[2])] == ["dacs"]
    # Into one of the merged files, which loses nothing, and into a new folder.
    for out in (tmp_path / "drsl", tmp_path / "both"):
        tool.merge(files[:2], out)
        merged = read_results(out / "results.json")
        assert sorted(entry["method"] for entry in merged) == ["drsl", "minent"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = = 1", "invalid syntax"),
        ("custom_imports = dict(imports=['no_such_module'])", "no_such_module"),
        (
            "_base_ = ['mmseg::fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024.py']",
            "lacks ['model.segm",
        ),
    ],
)
def test_a_config_that_is_no_method_is_one_line(
    tool, benchmark_root, tmp_path, monkeypatch, capsys, text, said
):
    config = tmp_path / "own.py"
    config.write_text(text + "\n")
    asked = ["--data", benchmark_root, "--methods", f"mine={config}", "--out", tmp_path / "out"]
    monkeypatch.setattr("sys.argv", ["run_benchmark.py", *map(str, asked)])
    monkeypatch.setattr("sys.path", list(sys.path))
    monkeypatch.setattr(tool.logging, "disable", lambda level: None)
    assert tool.main() == 1
    printed = capsys.readouterr().err
    assert printed.startswith("run_benchmark: ")
    assert said in printed


def test_unknown_tricks_are_refused_before_a_translation(
    tool, benchmark_root, tmp_path, monkeypatch
):
    def translating(*arguments, **options):
        raise AssertionError("translated")

    monkeypatch.setattr(tool, "make_translations", translating)
    asked = ["--data", benchmark_root, "--methods", "source_only", "--out", tmp_path / "out"]
    asked += ["--translations", "lab", "--tricks", "translated_source", "mean_techer"]
    with pytest.raises(ValueError, match=r"unknown tricks \['mean_techer'\]"):
        tool.read_settings(tool.parse_args([*map(str, asked)]))


def test_a_model_has_one_file_of_weights(tool):
    assert tool.read_pairs(["a=x=y", "b=scratch", "a=x=y"]) == {"a": "x=y", "b": "scratch"}
    with pytest.raises(ValueError, match="--weights has x and scratch for a: leave one out"):
        tool.read_pairs(["a=x", "a=scratch"])


@pytest.mark.parametrize("call", [["--report", "r.json"], ["--merge", "r.json", "--out", "o"]])
def test_results_take_no_options_of_trainings(tool, call, capsys):
    assert tool.parse_args(call).models is None
    with pytest.raises(SystemExit):
        tool.parse_args([*call, "--models", "fcn_r50", "--target-bn", "0.5"])
    assert "all rows of their files: leave --models, --target-bn out" in capsys.readouterr().err


def test_command_line(tool, capsys):
    asked = ["--data", "d", "--methods", "drsl", "--out", "o"]
    args = tool.parse_args([*asked, "--cfg-options", "a.b=1", "c=x=y"])
    assert args.cfg_options == {"a.b": 1, "c": "x=y"}
    for wrong, said in (
        (["--cfg-options", "a.b=1", "foo"], "--cfg-options foo: expected KEY=VALUE."),
        (["--pair", "synthia2cs"], "invalid choice: 'synthia2cs'"),
    ):
        with pytest.raises(SystemExit):
            tool.parse_args([*asked, *wrong])
        assert said in capsys.readouterr().err
