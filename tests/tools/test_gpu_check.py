"""gpu_check.py in its reduced form."""

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "analysis_tools"))
import gpu_check  # noqa: E402

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    def call(*options):
        arguments = ["--reduced", "--out", str(tmp_path / "gpu.json"), *options]
        monkeypatch.setattr(sys, "argv", ["gpu_check.py", *map(str, arguments)])
        status = gpu_check.main()
        return status, json.loads((tmp_path / "gpu.json").read_text()), capsys.readouterr().out

    return call


def few(monkeypatch, *kept):
    """The list without the measurements that take long."""
    every = gpu_check.measurements

    def chosen(**options):
        return [(key, measure) for key, measure in every(**options) if key in kept]

    monkeypatch.setattr(gpu_check, "measurements", chosen)


def test_it_stops_in_time_and_goes_on(run, monkeypatch, tmp_path):
    monkeypatch.setattr(gpu_check, "HEADLINE", (gpu_check.SCENES,))
    step, speed = (f"{kind}/{gpu_check.SCENES}" for kind in ("step", "speed"))
    few(monkeypatch, f"{step}/fp32", f"{step}/checkpointing", speed)
    page = tmp_path / "costs.md"
    page.write_text(f"above\n{gpu_check.BEGIN}\nold\n{gpu_check.END}\nbelow\n")
    # Nothing is begun after the time; what was begun before it is kept.
    clock = iter([0.0, 0.0, 1000.0, 1000.0])
    monkeypatch.setattr(gpu_check.time, "monotonic", lambda: next(clock))
    status, found, output = run("--minutes", 1)
    assert (status, list(found["measurements"])) == (3, [f"{step}/fp32"])
    assert "1 measured, 2 left" in output
    first = found["measurements"][f"{step}/fp32"]
    assert first["milliseconds"] > 0
    # Weights, gradients, two moments and activations of a network of some million parameters.
    assert 0.02 < first["gibibytes"] < 0.5
    monkeypatch.setattr(gpu_check.time, "monotonic", lambda: 0.0)
    status, found, output = run("--page", page)
    assert status == 0
    assert found["measurements"][f"{step}/fp32"] == first
    assert found["measurements"][f"{step}/checkpointing"]["milliseconds"] > 0
    assert found["measurements"][speed]["prediction_per_second"] > 0
    text = page.read_text()
    assert text.startswith("above\n")
    assert text.endswith("below\n")
    assert "old" not in text
    assert text.count(f"`{gpu_check.SCENES}`") == 3


def test_what_fails_is_a_result(run, monkeypatch):
    def measure():
        raise RuntimeError("CUDA out of memory. Tried\nmore")

    monkeypatch.setattr(gpu_check, "measurements", lambda **_: [("step/a/b/fp32", measure)])
    status, found, _ = run()
    assert (status, found["measurements"]) == (
        0,
        {"step/a/b/fp32": {"error": "CUDA out of memory. Tried"}},
    )
    assert "CUDA out of memory" in gpu_check.tables(found)


def test_measurements_of_another_machine_or_size_stay_apart(run, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(gpu_check, "measurements", lambda **_: [("step/a/b/fp32", dict)])
    _, made, _ = run()
    for name, other in (("device", "Another GPU"), ("environment", "mmdrsl 0"), ("reduced", False)):
        kept = {**made, name: other, "measurements": {"step/a/b/fp32": {"milliseconds": 1}}}
        (tmp_path / "gpu.json").write_text(json.dumps(kept))
        monkeypatch.setattr(
            sys, "argv", ["gpu_check.py", "--reduced", "--out", str(tmp_path / "gpu.json")]
        )
        assert gpu_check.main() == 1
        assert f"holds measurements of another {name}: [{other!r}], here" in capsys.readouterr().err
        assert json.loads((tmp_path / "gpu.json").read_text()) == kept
    status, found, _ = run("--again")
    assert (status, found) == (0, made)


def test_every_measurement_is_named_once_and_every_config_exists():
    names = [key for key, _ in gpu_check.measurements(reduced=False, device="cuda")]
    assert len(set(names)) == len(names)
    for name in gpu_check.HEADLINE:
        assert (ROOT / "configs" / f"{name}.py").is_file()
        assert {f"step/{name}/{variant}" for variant in gpu_check.VARIANTS} <= set(names)


@pytest.mark.slow
def test_the_whole_reduced_list(run, monkeypatch, scenes_root):
    monkeypatch.setenv("MMDRSL_SCENES", str(scenes_root))
    status, found, _ = run("--minutes", 30)
    assert status == 0
    wrong = {key: value for key, value in found["measurements"].items() if "error" in value}
    assert set(wrong) <= {
        # MMEngine's mixed precision wants a GPU.
        key
        for key in found["measurements"]
        if "fp16" in key or "bf16" in key
    }


@pytest.mark.parametrize(
    ("text", "message"), [(None, "No such file"), ("nothing\n", "has no place between")]
)
def test_a_page_that_cannot_be_filled_is_found_before_anything_is_measured(
    run, monkeypatch, capsys, tmp_path, text, message
):
    page = tmp_path / "costs.md"
    if text is not None:
        page.write_text(text)
    monkeypatch.setattr(gpu_check, "measurements", lambda **_: pytest.fail("measured"))
    with pytest.raises(SystemExit):
        run("--page", page)
    assert message in capsys.readouterr().err
