import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "analysis_tools"))
import benchmark_labeling  # noqa: E402

CONFIG = "configs/self_training/deeplabv3plus_scenes2scenes.py"


@pytest.mark.slow
def test_last_line_is_one_object(scenes_root, monkeypatch, capsys):
    monkeypatch.setenv("MMDRSL_SCENES", str(scenes_root))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    options = ("--num-images", "4", "--turns", "1", "--few", "2", "--many", "4", "--json")
    program = str(ROOT / "tools" / "analysis_tools" / "benchmark_labeling.py")
    monkeypatch.setattr(sys, "argv", [program, str(ROOT / CONFIG), *options])
    benchmark_labeling.main()
    report = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    ratio = report["bare_seconds_per_image"] / report["labeling_seconds_per_image"]
    assert report["throughput_ratio"] == pytest.approx(ratio)
    assert report["memory_ratio"] == report["many_megabytes"] / report["few_megabytes"]
    assert report["few_megabytes"] > 100


@pytest.mark.slow
def test_peak_memory_is_that_of_the_process_itself():
    """A small child of a process that is large must not report its parent's memory."""
    program = (
        "import benchmark_labeling as b; import numpy; x = numpy.ones({}); print(b.peak_memory())"
    )
    environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tools' / 'analysis_tools'}"}

    def peak(numbers):
        command = [sys.executable, "-W", "ignore", "-c", program.format(numbers)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        return int(done.stdout.splitlines()[-1])

    grown = peak(50_000_000) - peak(1)
    assert grown == pytest.approx(400_000, rel=0.1)


def test_repeated_images_have_names_of_their_own(scenes_root, monkeypatch):
    monkeypatch.setenv("MMDRSL_SCENES", str(scenes_root))
    job = benchmark_labeling.build_labeling(benchmark_labeling.read_config(ROOT / CONFIG))
    repeated = benchmark_labeling.RepeatedImages(job.dataset, 8)
    names = [repeated.get_data_info(index)["sample_id"] for index in range(8)]
    assert len(set(names)) == 8
    assert names[0].rsplit("_", 1)[0] == names[3].rsplit("_", 1)[0]
    assert repeated[5]["data_samples"].sample_id == names[5]
