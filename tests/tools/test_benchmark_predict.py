import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "analysis_tools"))
import benchmark_predict  # noqa: E402

CONFIG = str(ROOT / "configs/self_training/deeplabv3plus_scenes2scenes.py")


def run(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["benchmark_predict.py", *map(str, arguments)])
    benchmark_predict.main()
    return json.loads(capsys.readouterr().out.strip().splitlines()[-1])


def test_both_predict_the_same_images_in_turns(scenes_root, monkeypatch, capsys):
    monkeypatch.setenv("MMDRSL_SCENES", str(scenes_root))
    calls = []
    for name in ("infer", "predict"):
        original = getattr(benchmark_predict, name)

        def noted(predictor, images, *args, _name=name, _original=original, **kwargs):
            calls.append((_name, [item.name for item in images]))
            return _original(predictor, images, *args, **kwargs)

        monkeypatch.setattr(benchmark_predict, name, noted)
    inputs = scenes_root / "camera/leftImg8bit"
    options = ("--num-images", 4, "--turns", 3, "--device", "cpu", "--json")
    report = run(monkeypatch, capsys, CONFIG, inputs, *options)
    assert [name for name, _ in calls] == ["infer", "predict"] * 4
    assert [len(images) for _, images in calls] == [2, 2, *[4] * 6]
    assert all(images == calls[2][1] for _, images in calls[2:])
    assert report["images"] == 4
    assert report["throughput_ratio"] == sorted(report["throughput_ratios"])[1]
    assert 0 < report["processor_ratio"] < 1.2
    assert report["bare_images_per_second"] > 0


def test_videos_alone_are_refused(scenes_root, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("MMDRSL_SCENES", str(scenes_root))
    (tmp_path / "drive.mp4").write_bytes(b"")
    with pytest.raises(ValueError, match=r"hold videos alone: give images"):
        run(monkeypatch, capsys, CONFIG, tmp_path, "--device", "cpu")
