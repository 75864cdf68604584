"""The model index names what exists and repeats what was measured."""

import json
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
METAFILES = sorted((ROOT / "configs").glob("*/metafile.yml"))


def read(path):
    return yaml.safe_load(path.read_text())


def header(config):
    return (ROOT / config).read_text().split('"""')[1]


def measured_values(value):
    """Find mIoU by the method that a result names, anywhere below a value of docs/results."""
    if isinstance(value, dict):
        if "method" in value and "mIoU" in value:
            yield value["method"], value["mIoU"]
        for entry in value.values():
            yield from measured_values(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from measured_values(entry)


@pytest.fixture(scope="module")
def results():
    files = (ROOT / "docs" / "results").glob("*.json")
    return {pair for file in files for pair in measured_values(json.loads(file.read_text()))}


def test_index_names_every_metafile():
    named = [ROOT / name for name in read(ROOT / "model-index.yml")["Import"]]
    assert named == METAFILES


def test_every_measured_config_has_a_row():
    named = {model["Config"] for file in METAFILES for model in read(file)["Models"]}
    configs = [path.relative_to(ROOT) for path in (ROOT / "configs").glob("[!_]*/*.py")]
    measured = {str(path) for path in configs if re.search(r"Measured.*mIoU", header(path), re.S)}
    assert measured <= named


@pytest.mark.parametrize("file", METAFILES, ids=lambda path: path.parent.name)
def test_rows_are_measured(file, results):
    content = read(file)
    collections = {collection["Name"] for collection in content["Collections"]}
    for model in content["Models"]:
        assert model["In Collection"] in collections
        assert (ROOT / model["Config"]).parent == file.parent
        text = header(model["Config"])
        metrics = model["Results"]["Metrics"]
        assert metrics
        for name, value in metrics.items():
            assert name.startswith("mIoU")
            known = f"{value:.1f}" in text or (file.parent.name, value) in results
            assert known, (model["Name"], name, value)


def test_names_are_unique():
    names = [model["Name"] for file in METAFILES for model in read(file)["Models"]]
    assert len(set(names)) == len(names)
