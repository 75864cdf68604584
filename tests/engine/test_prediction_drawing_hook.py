"""Pictures of predictions over photographs that carry an EXIF orientation."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from mmseg.visualization import SegLocalVisualizer
from PIL import Image

from mmdrsl.engine.hooks.prediction_drawing_hook import PredictionDrawingHook

STORED, SIZE = (20, 30), (30, 20)


@pytest.mark.parametrize("draw", [True, False])
def test_drawn_as_it_was_read(tmp_path, draw):
    photograph = Image.fromarray(np.full((*STORED, 3), (200, 100, 0), np.uint8))
    exif = photograph.getexif()
    # Turned by a quarter in a viewer, and where it is read.
    exif[0x0112] = 6
    photograph.save(tmp_path / "a.jpg", exif=exif, quality=100)
    visualizer = SegLocalVisualizer.get_instance(
        f"drawing_{tmp_path.name}",
        vis_backends=[dict(type="LocalVisBackend")],
        save_dir=str(tmp_path),
        alpha=0.5,
    )
    visualizer.dataset_meta = dict(classes=("ground", "sky"), palette=[[0, 0, 0], [0, 0, 200]])
    sample = SegDataSample(metainfo=dict(img_path=str(tmp_path / "a.jpg"), ori_shape=SIZE))
    sample.pred_sem_seg = PixelData(data=torch.ones(1, *SIZE, dtype=torch.long))
    hook = PredictionDrawingHook(draw=draw, interval=2)
    hook.after_test_iter(None, 0, {}, [sample, sample])
    for batch in range(4):
        hook.after_val_iter(SimpleNamespace(iter=1), batch, {}, [sample])
    written = sorted(path.name for path in (tmp_path / "vis_data").rglob("*.png"))
    if not draw:
        assert not written
        return
    expected = [f"test_a.jpg_{step}.png" for step in (1, 2)]
    assert written == expected + [f"val_a.jpg_{step}.png" for step in (2, 4)]
    picture = cv2.imread(str(next((tmp_path / "vis_data").rglob("test_a.jpg_1.png"))))
    assert picture.shape == (*SIZE, 3)
    # Half of the photograph, half of the class's color; blue, green, red.
    assert np.abs(picture.mean(axis=(0, 1)) - (100, 50, 100)).max() < 3
