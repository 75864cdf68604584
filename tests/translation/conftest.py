import cv2
import numpy as np
import pytest
from street_names import NAMES


@pytest.fixture
def street(tmp_path):
    """Five labeled source images, three target images, and the configs of their datasets."""
    rng = np.random.default_rng(0)

    def write(path, array):
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), array)

    for name in NAMES:
        write(
            tmp_path / f"source/images/{name}.png", rng.integers(0, 120, (16, 24, 3)).astype("u1")
        )
        write(tmp_path / f"source/labels/{name}.png", rng.integers(0, 19, (16, 24)).astype("u1"))
    for name in ("x", "y", "z"):
        write(tmp_path / f"target/{name}.png", rng.integers(100, 255, (20, 20, 3)).astype("u1"))
    pipeline = [dict(type="LoadImage"), dict(type="LoadLabels"), dict(type="PackSegInputs")]
    source = dict(
        type="LabelledImageDataset", data_root=str(tmp_path / "source"), pipeline=pipeline
    )
    target = dict(type="UnlabelledDataset", data_root=str(tmp_path / "target"))
    return tmp_path, source, target
