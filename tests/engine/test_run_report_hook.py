"""The page and the pictures of real runs of a few steps."""

import base64
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from short_runs import CONFIG, ROOT, assert_equal, weights

from mmdrsl.visualization.colors import color_labels
from mmdrsl.visualization.run_records import learning_rates
from mmdrsl.visualization.run_report import RunRecord, phase_at

REPORT = {"default_hooks.report": dict(type="RunReportHook")}


def with_validation():
    cfg = Config.fromfile(ROOT / CONFIG)
    keys = ("val_cfg", "val_dataloader", "val_evaluator")
    return {key: cfg[key] for key in keys} | {
        "default_hooks.self_training.evaluate_rounds": True,
        "default_hooks.logger.interval": 1,
    }


def page_of(runner):
    return (Path(runner.work_dir) / "report.html").read_text()


def scalars(runner):
    files = sorted(Path(runner.work_dir).glob("*/vis_data/scalars.json"))
    return [json.loads(line) for path in files for line in path.read_text().splitlines()]


def pictures(page):
    """Label maps of a page, RGB, by their titles."""
    found = re.findall(r'<img alt="([^"]*)" src="data:image/png;base64,([^"]*)"', page)
    for title, data in found:
        content = np.frombuffer(base64.b64decode(data), np.uint8)
        yield title, cv2.imdecode(content, cv2.IMREAD_COLOR)[..., ::-1]


@pytest.fixture(scope="module")
def settings(scenes_root):
    """The configs read the environment, which a module's fixture cannot set."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMDRSL_SCENES", str(scenes_root))
        yield with_validation()


def test_page_of_a_run_says_what_its_records_say(train, settings, tmp_path):
    runner = train(tmp_path / "run", **settings, **REPORT)
    page = page_of(runner)
    addresses = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert addresses
    assert all(address.startswith("data:image/") for address in addresses)
    rounds = json.loads((tmp_path / "run/rounds.json").read_text())
    assert f"<b>{rounds['2']['metrics']['mIoU']:.1f}</b> % at step 4" in page
    assert f"{rounds['2']['labels']['scores']['agreement']:.3f}" in page
    assert "How good the model is" not in page
    assert "this is seed 0 alone" in page
    assert "How many pseudo labels are right" in page
    folder = tmp_path / "run/pseudo_labels/round_1/labels"
    labels = cv2.imread(str(min(folder.rglob("*.png"))), cv2.IMREAD_GRAYSCALE)
    palette = runner.train_dataloader.dataset.metainfo["palette"]
    drawn = [image for title, image in pictures(page) if title == "pseudo label"]
    assert any(
        image.shape == (*labels.shape, 3) and (image == color_labels(labels, palette)).all()
        for image in drawn
    )
    records = scalars(runner)
    coverage = {
        r["step"]: r["pseudo_labels/coverage"] for r in records if "pseudo_labels/coverage" in r
    }
    assert coverage == pytest.approx(
        {1: 100 * rounds["1"]["labels"]["coverage"], 2: 100 * rounds["2"]["labels"]["coverage"]}
    )
    names = {path.name for path in (tmp_path / "run").glob("*/vis_data/vis_image/*.png")}
    assert names == {
        *(f"training_batch_{step}.png" for step in (1, 2, 3)),
        *(f"{kind}_images_{step}.png" for kind in ("target", "validation") for step in (1, 2, 4)),
    }
    assert not list(tmp_path.rglob(".*.tmp"))


def test_phases_of_a_run_without_a_warm_up():
    phases = [("round 1", 0), ("round 2", 140)]
    record = RunRecord(
        title="run", starts=(), facts=(), phases=phases, max_steps=440, finished_steps=440
    )
    assert phase_at(record, 140) == "end of round 1"
    assert phase_at(record, 200) == "in round 2"
    assert phase_at(record, 440) == "end of round 2"


def test_weights_are_those_of_a_run_without_it(train, settings, tmp_path):
    reported = train(tmp_path / "with", **settings, **REPORT)
    plain = train(tmp_path / "without", **settings)
    assert_equal(weights(reported), weights(plain))
    assert not (tmp_path / "without/report.html").exists()


def test_resumed_run_goes_on_with_the_page(train, tmp_path):
    options = {"default_hooks.logger.interval": 1, **REPORT}
    whole = train(tmp_path / "run", **options)
    # As if it had been killed after the checkpoint of step 3.
    (tmp_path / "run/iter_4.pth").unlink()
    (tmp_path / "run/last_checkpoint").write_text(str(tmp_path / "run/iter_3.pth"))
    resumed = train(tmp_path / "run", resume=True, **options)
    assert_equal(weights(resumed), weights(whole))
    page = page_of(resumed)
    assert "resumed at step 3" in page
    first, second = sorted(path.parent.name for path in (tmp_path / "run").glob("*/vis_data"))
    rates = learning_rates(tmp_path / "run", {first: 0, second: 3})
    # AdamW's 2e-3 from a twentieth on, in 99 steps.
    expected = [2e-3 * (0.05 + 0.95 * step / 99) for step in range(4)]
    assert rates == {step: pytest.approx(rate) for step, rate in enumerate(expected, 1)}
    assert "How good the model is: there are no validation labels" in page
    assert "Step 1, end of the warm-up" in page
    assert "Step 4, end of round 2" in page
    again = train(tmp_path / "run", **options)
    assert "resumed at step" not in page_of(again)


def test_page_that_cannot_be_written_stops_nothing(train, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/report.html").mkdir()
    runner = train(tmp_path / "run", log_level="WARNING", **REPORT)
    assert runner.iter == 4
    log = next((tmp_path / "run").glob("*/*.log")).read_text()
    assert (
        log.count("The report of the run is incomplete, training goes on: IsADirectoryError") == 1
    )


def test_batch_of_an_online_method_shows_what_it_mixes(train, tmp_path):
    config = "configs/dacs/deeplabv3plus_scenes2scenes.py"
    options = {"default_hooks.self_training.labeler.policy": None, **REPORT}
    runner = train(tmp_path / "run", config=config, **options)
    page = page_of(runner)
    titles = [title for title, _ in pictures(page)]
    assert "mixed label" in titles
    assert "no labels made beforehand" in page
    assert "of the pixels of each predicted class" not in page
    assert "teacher&#x27;s label" in titles
    assert "pseudo label" not in titles
